//! The simulated world: machines, streams between them, a control plane, servers, and time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arena::rng::Rng;
use sched::owner;
use sched::permit::{Incarnation, PlaneId};
use sched::{BackendId, Moment};

use crate::control::Control;
use crate::judge::{Broken, Judge, Request};
use crate::net::{End, Net};
use crate::plane::{Clock, Plane, Process};

mod act;
mod happening;
mod step;

pub use happening::{Happening, Input, Known, Mark, Served, Service, Settings};

/// The control plane's place among the machines.
pub const CONTROL: usize = usize::MAX;

/// The world.
pub struct World {
    /// Microseconds since the start.
    pub now: u64,
    /// What it is like.
    pub settings: Settings,
    /// Chance.
    pub rng: Rng,
    /// The machines.
    pub planes: Vec<Plane>,
    /// Streams.
    pub net: Net,
    /// The control plane.
    pub control: Control,
    /// Servers, requests and laws.
    pub judge: Judge,
    /// What is planned for requests.
    pub services: BTreeMap<Request, Service>,
    /// Ways that are shut, the lower number first.
    pub shut: BTreeSet<(usize, usize)>,
    /// Faults go on.
    pub chaos: bool,
    /// Messages between machines so far.
    pub messages: u64,
    /// When each request came, started, and which process had it.
    pub journal: Vec<(u64, Request, Mark)>,
    /// All that happens is printed.
    pub loud: bool,
    /// The journal is kept.
    pub keeps: bool,
    pub(crate) lives: u64,
    pub(crate) ids: u32,
    queue: BTreeMap<(u64, u64), Happening>,
    planned: u64,
    todo: VecDeque<(End, Input)>,
    /// Every event is written here, to tell one run from another.
    pub digest: u64,
}

impl World {
    /// A world in which all machines are about to start.
    pub fn new(seed: u64, settings: Settings) -> Self {
        let mut rng = Rng::new(seed);
        let mut planes = Vec::new();
        for id in 0..settings.planes {
            let rough = settings.rough;
            let offset = if rough { rng.below(1_000_000_000) as u64 } else { 0 };
            let drift = if rough { rng.below(4_000) as i64 - 2_000 } else { 0 };
            let clock = Clock { offset, drift };
            planes.push(Plane { id: PlaneId(id as u32), starts: 0, kept: None, clock, process: None });
        }
        let mut judge = Judge::default();
        for (backend, slots) in settings.slots.iter().enumerate() {
            judge.most.insert(BackendId(backend as u32), *slots);
        }
        let mut world = World {
            now: 0,
            control: Control::new(settings.slots.clone()),
            ids: settings.planes as u32,
            rng,
            planes,
            net: Net::default(),
            judge,
            services: BTreeMap::new(),
            shut: BTreeSet::new(),
            chaos: false,
            messages: 0,
            journal: Vec::new(),
            loud: false,
            keeps: false,
            lives: 0,
            queue: BTreeMap::new(),
            planned: 0,
            todo: VecDeque::new(),
            digest: 0,
            settings,
        };
        for machine in 0..world.planes.len() {
            world.plan(0, Happening::Boot(machine, true));
            if world.settings.gap > 0 {
                world.plan(1_000, Happening::Client(machine));
            }
        }
        world.plan(0, Happening::Tick);
        world
    }

    /// Lets something happen in so many microseconds.
    pub fn plan(&mut self, after: u64, happening: Happening) {
        self.planned += 1;
        self.queue.insert((self.now + after, self.planned), happening);
    }

    /// Runs for so long, or until a law is broken.
    pub fn run(&mut self, span: u64) -> Result<(), Broken> {
        let end = self.now + span;
        while let Some((&(at, _), _)) = self.queue.first_key_value()
            && at <= end
        {
            let (_, happening) = self.queue.pop_first().expect("the first was seen");
            self.now = at;
            self.digest = arena::rng::mix(self.digest ^ at ^ (self.planned << 32));
            if self.loud && !matches!(happening, Happening::Tick | Happening::Reach(..)) {
                println!("{at} {happening:?}");
            }
            self.happen(happening);
            if let Some(broken) = &self.judge.broken {
                return Err(broken.clone());
            }
        }
        self.now = end;
        Ok(())
    }

    /// How long something takes to another machine.
    pub fn delay(&mut self) -> u64 {
        let (least, most) = self.settings.delay;
        let usual = self.within(least, most);
        let spike = self.settings.rough && self.rng.chance(0.02);
        if spike { usual * 10 } else { usual }
    }

    /// A number of this range.
    pub fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.rng.below((most - least + 1) as usize) as u64
    }

    /// Whether nothing passes between two machines.
    pub fn blocked(&self, one: usize, other: usize) -> bool {
        self.shut.contains(&(one.min(other), one.max(other)))
    }

    /// The process of a machine.
    pub fn process(&mut self, machine: usize) -> Option<&mut Process> {
        self.planes[machine].process.as_mut()
    }

    /// Which machine and process has a stream's end, while it is that process.
    pub(crate) fn end(&self, machine: usize) -> Option<End> {
        let life = self.planes[machine].process.as_ref()?.life;
        Some(End { machine, life })
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Reach(end, by, input) => {
                if by.is_none_or(|stream| self.net.carries(stream)) {
                    self.reach(end, input);
                }
            }
            Happening::Open(end, attempt, lead) => self.open(end, attempt, lead),
            Happening::Register(machine, plane, incarnation, sent) => {
                self.register(machine, plane, incarnation, sent);
            }
            Happening::Bury(plane, incarnation) => match self.control.up {
                true => self.control.bury(plane, incarnation),
                false => self.plan(20_000, Happening::Bury(plane, incarnation)),
            },
            Happening::Tick => self.tick(),
            Happening::Boot(machine, disk) => self.boot(machine, disk),
            Happening::Resume(machine, life) => self.resume(machine, life),
            Happening::Exit(machine, life) => {
                let Some(process) = self.process(machine).filter(|process| process.life == life) else {
                    return;
                };
                let busy = process.paused || process.owner.held().next().is_some();
                match busy && self.chaos {
                    true => self.plan(20_000, Happening::Exit(machine, life)),
                    false => self.kill(machine, true),
                }
            }
            Happening::Revive => {
                self.control.up = true;
                let now = self.now;
                self.control.heard.values_mut().for_each(|heard| *heard = now);
            }
            Happening::Served(request, attempt, how) => self.served(request, attempt, how),
            Happening::Client(machine) => self.client(machine),
            Happening::Mend(one, other) => drop(self.shut.remove(&(one, other))),
            Happening::Chaos => crate::chaos::strike(self),
        }
    }

    fn register(&mut self, machine: usize, plane: PlaneId, incarnation: Incarnation, sent: Moment) {
        if !self.control.up || self.blocked(machine, CONTROL) {
            return;
        }
        self.control.heard.insert(plane, self.now);
        self.control.register(plane, incarnation);
        if let Some(end) = self.end(machine).filter(|_| self.planes[machine].starts == incarnation.0) {
            let after = self.delay();
            let contact = Input::Owner(owner::Event::Contact { sent });
            self.plan(after, Happening::Reach(end, None, contact));
        }
    }

    fn tick(&mut self) {
        let next = self.within(10_000, 30_000);
        self.plan(next, Happening::Tick);
        if !self.control.up {
            return;
        }
        self.bury_silent();
        let reached: Vec<usize> = (0..self.planes.len())
            .filter(|machine| self.planes[*machine].process.is_some() && !self.blocked(*machine, CONTROL))
            .collect();
        if self.control.headless() && !reached.is_empty() {
            let pick = reached[self.rng.below(reached.len())];
            let plane = self.planes[pick].id;
            self.control.appoint(plane);
        }
        for machine in reached {
            if let Some(end) = self.end(machine) {
                let after = self.delay();
                let behind = self.settings.rough && self.rng.chance(0.05);
                let stale = self.control.stale.clone().filter(|_| behind);
                let picture = Input::Picture(stale.unwrap_or_else(|| self.control.picture.clone()));
                self.plan(after, Happening::Reach(end, None, picture));
            }
        }
    }

    /// Where silence is death, who was not heard of for so long is dead.
    fn bury_silent(&mut self) {
        let Some(silence) = self.settings.silence else { return };
        let roll = self.control.picture.roll.clone();
        for (plane, incarnation) in roll {
            if self.control.heard.get(&plane).is_none_or(|heard| self.now - heard >= silence.0) {
                self.control.bury(plane, incarnation);
            }
        }
    }

    fn boot(&mut self, machine: usize, disk: bool) {
        if self.planes[machine].process.is_some() {
            return;
        }
        if !disk {
            self.planes[machine].id = PlaneId(self.ids);
            self.planes[machine].starts = 0;
            self.planes[machine].kept = None;
            self.ids += 1;
        }
        self.lives += 1;
        let (life, flaw) = (self.lives, self.settings.flaw);
        self.planes[machine].start(life, flaw);
        let end = End { machine, life };
        let silence = self.settings.silence;
        let sent = self.planes[machine].clock.at(self.now);
        self.reach(end, Input::Owner(owner::Event::Contact { sent }));
        self.reach(end, Input::Owner(owner::Event::Silence(silence)));
        self.reach(end, Input::Knock);
        if let Some(kept) = self.planes[machine].kept.clone() {
            self.reach(end, Input::Picture(kept));
        }
    }

    fn resume(&mut self, machine: usize, life: u64) {
        let Some(process) = self.process(machine).filter(|process| process.life == life) else { return };
        process.paused = false;
        let backlog = std::mem::take(&mut process.backlog);
        for input in backlog {
            self.reach(End { machine, life }, input);
        }
    }

    fn client(&mut self, machine: usize) {
        let gap = self.settings.gap;
        if gap == 0 {
            return;
        }
        let next = self.rng.exponential(gap as f64) as u64 + 1;
        self.plan(next, Happening::Client(machine));
        let Some(end) = self.end(machine) else { return };
        let all = self.settings.slots.len();
        let mut backends: Vec<BackendId> = (0..all).map(|backend| BackendId(backend as u32)).collect();
        let first = self.rng.below(all);
        backends.rotate_left(first);
        backends.truncate(1 + self.rng.below(all));
        let (least, most) = self.settings.service;
        let length = self.within(least, most);
        self.reach(end, Input::Arrive(backends, length));
    }
}
