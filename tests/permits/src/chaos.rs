//! Fault schedules by a seed: what goes wrong, the healing, and whether all is whole again.

use std::ops::Range;

use sched::owner;
use sched::permit::Flaw;
use sched::{BackendId, Span};

use crate::judge::Broken;
use crate::net::End;
use crate::world::{CONTROL, Happening, Input, Settings, World};

/// Microseconds in which things go wrong.
const TROUBLE: u64 = 2_000_000;
/// Time to find together again.
const HEALING: u64 = 1_500_000;
/// In which all that still waits must have run.
const DRAIN: u64 = 6_000_000;

/// Rules that can be left out.
pub const FLAWS: [Flaw; 9] = [
    Flaw::NoLearning,
    Flaw::ReclaimOnBreak,
    Flaw::ReleaseWhileBusy,
    Flaw::LateRow,
    Flaw::OldStreams,
    Flaw::Unfenced,
    Flaw::LateProof,
    Flaw::NoTermCheck,
    Flaw::EarlyReport,
];

/// The first seed that breaks a law, and how.
pub fn first(mut seeds: Range<u64>, breaks: impl Fn(u64) -> Option<Broken>) -> Option<(u64, Broken)> {
    seeds.find_map(|seed| Some((seed, breaks(seed)?)))
}

/// What a schedule came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were started.
    pub starts: u64,
    /// Grants.
    pub grants: u64,
    /// A fingerprint of the run.
    pub digest: u64,
}

/// A random world.
fn settings(seed: u64, flaw: Option<Flaw>) -> Settings {
    let mut rng = arena::rng::Rng::new(seed ^ 0x5eed);
    let planes = 2 + rng.below(3);
    let slots: Vec<u32> = (0..1 + rng.below(3)).map(|_| 1 + rng.below(3) as u32).collect();
    let far = [(50, 500), (500, 3_000), (2_000, 12_000)][rng.below(3)];
    let most = [8_000, 40_000, 150_000][rng.below(3)];
    // a third to nine tenths of what the servers can do, the ways to them included
    let load = 0.3 + 0.6 * rng.unit();
    let held = most as f64 / 2.0 + 3.0 * far.1 as f64;
    let gap = held * planes as f64 / (f64::from(slots.iter().sum::<u32>()) * load);
    Settings {
        planes,
        slots,
        delay: far,
        rough: true,
        reigns: seed % 4 == 3,
        gap: gap as u64,
        service: (500, most),
        silence: None,
        core: false,
        flaw,
    }
}

/// Runs the schedule of a seed: trouble, healing, and proof that every permit is back.
pub fn schedule(seed: u64, flaw: Option<Flaw>) -> Result<Tally, Broken> {
    run(&mut World::new(seed, settings(seed, flaw)))
}

/// The same, judged by I1 and I2 alone: whether a slot is used or owned twice.
pub fn twice(seed: u64, flaw: Option<Flaw>) -> Option<Broken> {
    let mut world = World::new(seed, settings(seed, flaw));
    world.judge.slots_alone = true;
    run(&mut world).err().filter(|broken| broken.law != "I7")
}

/// The same, and prints all that happens.
pub fn replay(seed: u64, flaw: Option<Flaw>, core: bool) -> Result<Tally, Broken> {
    let mut world = World::new(seed, Settings { core, ..settings(seed, flaw) });
    world.loud = true;
    let told = run(&mut world);
    for plane in &world.planes {
        if let Some(process) = &plane.process {
            println!("{:?}", process.owner);
        }
    }
    told
}

/// The same with the product's scheduling core as the order.
pub fn core(seed: u64) -> Result<Tally, Broken> {
    run(&mut World::new(seed, Settings { core: true, ..settings(seed, None) }))
}

/// The same where silence of five seconds is death; nothing is stopped in these, as what is stopped cannot end its work.
pub fn silent(seed: u64) -> Result<Tally, Broken> {
    let silence = Some(Span::from_secs(5));
    run(&mut World::new(seed, Settings { silence, ..settings(seed, None) }))
}

fn run(world: &mut World) -> Result<Tally, Broken> {
    world.run(60_000)?;
    world.chaos = true;
    world.plan(0, Happening::Chaos);
    let trouble = if world.settings.silence.is_some() { 8 * TROUBLE } else { TROUBLE };
    world.run(trouble)?;
    heal(world)?;
    whole(world)?;
    let tally = Tally { starts: world.judge.starts, grants: world.judge.grants, digest: world.digest };
    Ok(tally)
}

/// One thing goes wrong, and another soon.
pub fn strike(world: &mut World) {
    if !world.chaos {
        return;
    }
    let next = world.within(2_000, 60_000);
    world.plan(next, Happening::Chaos);
    let machine = world.rng.below(world.planes.len());
    if world.settings.reigns {
        return reign(world, machine);
    }
    match world.rng.below(16) {
        0..=4 => {
            let streams = world.net.whole();
            if !streams.is_empty() {
                let stream = streams[world.rng.below(streams.len())];
                let lingers = world.rng.chance(0.5);
                world.cut(stream, lingers);
            }
        }
        5 | 6 => {
            let other = world.rng.below(world.planes.len());
            if other != machine {
                shut(world, machine, other);
            }
        }
        7 | 8 => shut(world, machine, CONTROL),
        9 | 10 => {
            let disk = world.rng.chance(0.85);
            world.kill(machine, disk);
        }
        11 | 12 if world.settings.silence.is_none() => pause(world, machine),
        13 if world.rng.chance(0.5) => leave(world, machine),
        13 => {
            if world.control.up {
                world.control.up = false;
                let after = world.within(5_000, 300_000);
                world.plan(after, Happening::Revive);
            }
        }
        14 => appoint(world, machine),
        _ => resize(world),
    }
}

/// Another lead is appointed while some are cut off from the control plane, and those that are not die.
fn reign(world: &mut World, machine: usize) {
    match world.rng.below(8) {
        0..=2 => shut(world, machine, CONTROL),
        3 | 4 => appoint(world, machine),
        5 | 6 if !world.blocked(machine, CONTROL) => world.kill(machine, true),
        _ => {
            let streams = world.net.whole();
            if !streams.is_empty() {
                let stream = streams[world.rng.below(streams.len())];
                world.cut(stream, true);
            }
        }
    }
}

fn appoint(world: &mut World, machine: usize) {
    if world.control.up {
        let plane = world.planes[machine].id;
        world.control.appoint(plane);
    }
}

fn shut(world: &mut World, one: usize, other: usize) {
    let way = (one.min(other), one.max(other));
    world.shut.insert(way);
    let after = match world.settings.silence {
        Some(silence) if world.rng.chance(0.2) => world.within(silence.0 / 2, 2 * silence.0),
        _ => world.within(5_000, 400_000),
    };
    world.plan(after, Happening::Mend(way.0, way.1));
    for stream in world.net.of(one) {
        let other =
            world.net.get(stream).is_some_and(|conn| conn.from.machine == other || conn.to.machine == other);
        if other {
            world.cut(stream, false);
        }
    }
}

/// A machine stops its process in order: it finishes what runs, and starts another.
fn leave(world: &mut World, machine: usize) {
    if let Some(life) = world.process(machine).filter(|process| !process.paused).map(|process| process.life) {
        world.reach(End { machine, life }, Input::Owner(owner::Event::Leave));
        let after = world.within(20_000, 200_000);
        world.plan(after, Happening::Exit(machine, life));
    }
}

fn pause(world: &mut World, machine: usize) {
    let after = world.within(2_000, 300_000);
    let Some(process) = world.process(machine).filter(|process| !process.paused) else { return };
    process.paused = true;
    let life = process.life;
    world.plan(after, Happening::Resume(machine, life));
}

fn resize(world: &mut World) {
    if !world.control.up || !world.rng.chance(0.3) {
        return;
    }
    let backend = world.rng.below(world.settings.slots.len());
    let slots = 1 + world.rng.below(3) as u32;
    world.control.picture.slots[backend] = slots;
    world.control.picture.version += 1;
    let most = world.judge.most.entry(BackendId(backend as u32)).or_default();
    *most = slots.max(*most);
}

/// Nothing goes wrong any more.
fn heal(world: &mut World) -> Result<(), Broken> {
    world.chaos = false;
    world.shut.clear();
    world.control.up = true;
    world.control.picture.slots.clone_from(&world.settings.slots);
    world.control.picture.version += 1;
    for machine in 0..world.planes.len() {
        let life = world.process(machine).map(|process| process.life);
        match life {
            Some(life) => world.plan(0, Happening::Resume(machine, life)),
            None => world.plan(0, Happening::Boot(machine, true)),
        }
    }
    world.run(HEALING)?;
    world.settings.gap = 0;
    let end = world.now + DRAIN;
    while world.now < end && !world.judge.pending().is_empty() {
        world.run(20_000)?;
    }
    match world.judge.pending().as_slice() {
        [] => Ok(()),
        lost => {
            let why = format!("{} requests were never answered, such as {:?}", lost.len(), lost[0]);
            Err(Broken { law: "I7", why })
        }
    }
}

/// I7: from every machine all slots of every backend can be filled at once.
fn whole(world: &mut World) -> Result<(), Broken> {
    const LENGTH: u64 = 400_000;
    world.settings.rough = false;
    for machine in 0..world.planes.len() {
        let Some(life) = world.process(machine).map(|process| process.life) else {
            return Err(Broken { law: "I7", why: format!("machine {machine} is down") });
        };
        let slots = world.control.picture.slots.clone();
        for (backend, slots) in slots.iter().enumerate() {
            for _ in 0..*slots {
                let arrive = Input::Arrive(vec![BackendId(backend as u32)], LENGTH);
                world.reach(End { machine, life }, arrive);
            }
        }
        world.run(LENGTH - 50_000)?;
        for (backend, slots) in slots.iter().enumerate() {
            let backend = BackendId(backend as u32);
            let running = world.judge.working.iter().filter(|working| working.permit.backend == backend);
            let running = running.count();
            if running != *slots as usize {
                let why =
                    format!("from machine {machine} only {running} of {slots} slots of {backend:?} fill");
                return Err(Broken { law: "I7", why });
            }
        }
        world.run(LENGTH)?;
    }
    let pending = world.judge.pending();
    if pending.is_empty() { Ok(()) } else { Err(Broken { law: "I7", why: format!("{pending:?} never end") }) }
}
