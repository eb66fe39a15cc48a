//! The control plane is gone, the lead is gone, or both: what goes on meanwhile, and how soon all is whole again.

use permits::judge::Broken;
use permits::world::{Happening, Settings, World};

/// Two servers of one and four slots, used for two thirds of their time by three data planes a millisecond apart.
fn world(seed: u64) -> World {
    let settings = Settings {
        planes: 3,
        slots: vec![1, 4],
        delay: (400, 600),
        rough: false,
        reigns: false,
        gap: 100_000,
        service: (20_000, 200_000),
        silence: None,
        core: false,
        flaw: None,
    };
    World::new(seed, settings)
}

fn ok(told: Result<(), Broken>) {
    assert_eq!(told, Ok(()));
}

/// Which machine leads the others.
fn lead(world: &World) -> usize {
    let leads = |machine: &usize| world.planes[*machine].leads();
    (0..world.planes.len()).max_by_key(leads).expect("there are machines")
}

/// Whether all have a lead that knows of everyone what he holds.
fn whole(world: &World) -> bool {
    let processes = || world.planes.iter().map(|plane| plane.process.as_ref());
    let led = processes().all(|process| process.is_some_and(|process| process.owner.led()));
    let mut leads = processes().flatten().filter_map(|process| process.lead.as_ref());
    led && leads.any(|lead| !lead.over() && lead.unreported().next().is_none())
}

/// Runs until all is whole; the answer is how long that took, in microseconds.
fn until_whole(world: &mut World, most: u64) -> u64 {
    let begin = world.now;
    while !whole(world) {
        assert!(world.now - begin < most, "not whole after {most} µs");
        ok(world.run(5_000));
    }
    world.now - begin
}

#[test]
fn ten_minutes_without_a_control_plane_are_as_any_other() {
    let mut world = world(1);
    until_whole(&mut world, 1_000_000);
    let before = world.judge.starts;
    world.control.up = false;
    ok(world.run(600_000_000));
    let (starts, left) = (world.judge.starts - before, world.judge.pending().len());
    println!("{starts} requests started without a control plane, {left} wait or run");
    assert!(starts > 15_000 && left < 60, "{starts} started, {left} are left");
    assert!(whole(&world), "it lacks nobody");
    world.control.up = true;
    ok(world.run(1_000_000));
    assert!(whole(&world));
}

#[test]
fn another_leads_when_the_lead_dies() {
    for seed in 0..20 {
        let mut world = world(seed);
        until_whole(&mut world, 1_000_000);
        ok(world.run(2_000_000));
        let gone = lead(&world);
        world.kill(gone, true);
        ok(world.run(1_000));
        until_whole(&mut world, 2_000_000);
        world.settings.gap = 0;
        ok(world.run(10_000_000));
        assert_eq!(world.judge.pending(), [], "seed {seed}");
    }
}

#[test]
fn with_both_gone_each_works_on_and_all_is_whole_two_seconds_after() {
    for seed in 0..20 {
        let mut world = world(seed);
        until_whole(&mut world, 1_000_000);
        ok(world.run(2_000_000));
        world.control.up = false;
        let gone = lead(&world);
        world.kill(gone, true);
        let before = world.judge.starts;
        ok(world.run(20_000_000));
        assert!(world.judge.starts > before, "seed {seed}: what is held is of use");
        world.control.up = true;
        let took = until_whole(&mut world, 2_000_000);
        println!("seed {seed}: whole {took} µs after the control plane was back");
        world.settings.gap = 0;
        ok(world.run(60_000_000));
        assert_eq!(world.judge.pending(), [], "seed {seed}");
    }
}

/// Stops a process for thirty seconds. Others end its streams after half a second: nothing comes by them.
fn hang(world: &mut World, machine: usize) {
    let process = world.process(machine).expect("it is there");
    process.paused = true;
    let life = process.life;
    world.plan(30_000_000, Happening::Resume(machine, life));
    ok(world.run(500_000));
    for stream in world.net.of(machine) {
        world.cut(stream, false);
    }
}

#[test]
fn one_that_hangs_keeps_what_it_has_and_nothing_more() {
    for seed in 0..10 {
        let mut world = world(seed);
        until_whole(&mut world, 1_000_000);
        ok(world.run(2_000_000));
        let hung = (lead(&world) + 1) % 3;
        hang(&mut world, hung);
        let before = world.judge.starts;
        ok(world.run(29_000_000));
        let starts = world.judge.starts - before;
        println!("seed {seed}: {starts} started while one of three hung");
        assert!(starts > 100, "seed {seed}: {starts}");
        ok(world.run(1_000_000));
        until_whole(&mut world, 2_000_000);
        world.settings.gap = 0;
        ok(world.run(60_000_000));
        assert_eq!(world.judge.pending(), [], "seed {seed}");
    }
}

#[test]
fn when_the_lead_hangs_another_moves_what_has_been_reported() {
    let mut moved = 0;
    for seed in 0..10 {
        let mut world = world(seed);
        until_whole(&mut world, 1_000_000);
        ok(world.run(2_000_000));
        let hung = lead(&world);
        hang(&mut world, hung);
        ok(world.run(9_500_000));
        let next = world.planes[(hung + 1) % 3].id;
        world.control.appoint(next);
        ok(world.run(500_000));
        let (grants, starts) = (world.judge.grants, world.judge.starts);
        ok(world.run(19_000_000));
        let (grants, starts) = (world.judge.grants - grants, world.judge.starts - starts);
        println!("seed {seed}: {grants} granted and {starts} started while the one that led hung");
        moved += u64::from(grants > 0);
        ok(world.run(1_500_000));
        until_whole(&mut world, 2_000_000);
        world.settings.gap = 0;
        ok(world.run(60_000_000));
        assert_eq!(world.judge.pending(), [], "seed {seed}");
    } // what was idle or on its way at the one that hangs stays with it: it may be all there is
    assert!(moved >= 5, "only in {moved} of 10 another moved anything");
}
