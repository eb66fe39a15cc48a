//! Discrete events: requests arrive, servers read and write, whoever places requests is asked after each.

mod host;
mod world;

use std::cmp::Ordering;
use std::collections::BinaryHeap;

pub use host::{Host, Job, Phase};
pub use world::{Record, Ticket, World};

use crate::fleet::Machine;
use crate::work::{Request, Source};

/// Whoever places requests, with the whole world in view.
pub trait Player {
    /// A request came in. It waits until `World::start`.
    fn arrive(&mut self, world: &mut World, ticket: usize);

    /// A started request has its first token.
    fn first(&mut self, world: &mut World, ticket: usize);

    /// A started request is answered; its slot is free.
    fn done(&mut self, world: &mut World, ticket: usize);

    /// All that happened at this moment was told: start whatever is to start.
    fn settle(&mut self, world: &mut World);

    /// When `settle` is wanted again if nothing happens before, in seconds; asked after each `settle`.
    fn next_wake(&self) -> Option<f64>;
}

/// For how long, and under which conditions.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The servers.
    pub machines: Vec<Machine>,
    /// When it ends, in seconds.
    pub horizon: f64,
    /// What arrives before this many seconds is not counted.
    pub warmup: f64,
    /// Every so many seconds the next server silently loses its cache.
    pub loss_every: Option<f64>,
    /// All servers share one cache without end: no placement can do better.
    pub shared_pool: bool,
}

impl Setting {
    /// Two hours of which the first quarter of an hour is not counted.
    #[must_use]
    pub fn new(machines: Vec<Machine>) -> Self {
        Setting { machines, horizon: 7200.0, warmup: 900.0, loss_every: None, shared_pool: false }
    }
}

/// What became of everything.
#[derive(Clone, Debug)]
pub struct Run {
    /// Every request that arrived, in order.
    pub records: Vec<Record>,
    /// Seconds of slots in use after the warm-up, by server.
    pub busy_s: Vec<f64>,
    /// When it ended.
    pub end: f64,
    /// From when on it counts.
    pub warmup: f64,
    /// How many keys there were.
    pub keys: usize,
    /// How many slots there were.
    pub slots: usize,
}

/// Events at one moment that are surely a circle.
const SAME_MOMENT_MAX: u32 = 100_000;

#[derive(Clone, Copy, Debug)]
enum Due {
    /// The request of this number arrives.
    Arrive(usize),
    /// Something changes at this host, unless its version is another by now.
    Change { host: usize, version: u64 },
    /// This host loses its cache.
    Lose(usize),
    /// The player wanted to be asked.
    Wake,
}

/// What is due, the soonest first; of equal ones the first that was entered.
#[derive(Default)]
struct Agenda {
    heap: BinaryHeap<Entry>,
    entered: u64,
}

struct Entry {
    at: f64,
    number: u64,
    due: Due,
}

impl Agenda {
    fn enter(&mut self, at: f64, due: Due) {
        self.entered += 1;
        self.heap.push(Entry { at, number: self.entered, due });
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

/// Lets the work arrive at the servers until the horizon.
///
/// # Panics
/// When the player starts what it may not, or never comes to rest.
#[must_use]
pub fn run(setting: &Setting, source: &mut dyn Source, player: &mut dyn Player) -> Run {
    let mut game = Game {
        world: World::new(setting),
        agenda: Agenda::default(),
        pending: Vec::new(),
        versions: vec![u64::MAX; setting.machines.len()],
        wake: None,
        loss_every: setting.loss_every,
    };
    for request in source.initial() {
        game.expect(request);
    }
    if let Some(every) = setting.loss_every {
        game.agenda.enter(every, Due::Lose(0));
    }
    let mut same = 0;
    while let Some(entry) = game.agenda.heap.pop() {
        if entry.at > setting.horizon {
            break;
        }
        same = if entry.at > game.world.now { 0 } else { same + 1 };
        assert!(same < SAME_MOMENT_MAX, "nothing but events at {} s", entry.at);
        game.world.now = entry.at;
        if game.happen(entry.due, source, player) {
            game.settle(player);
        }
    }
    game.world.close(setting, source.keys())
}

struct Game {
    world: World,
    agenda: Agenda,
    /// Requests by number, until they arrive.
    pending: Vec<Option<Request>>,
    /// The version of each host whose next change is on the agenda.
    versions: Vec<u64>,
    wake: Option<f64>,
    loss_every: Option<f64>,
}

impl Game {
    fn expect(&mut self, request: Request) {
        self.agenda.enter(request.at, Due::Arrive(self.pending.len()));
        self.pending.push(Some(request));
    }

    /// Whether anything happened.
    fn happen(&mut self, due: Due, source: &mut dyn Source, player: &mut dyn Player) -> bool {
        match due {
            Due::Arrive(number) => {
                let Some(request) = self.pending[number].take() else { return false };
                let ticket = self.world.arrive(request);
                player.arrive(&mut self.world, ticket);
            }
            Due::Change { host, version } => {
                if self.world.hosts[host].version() != version {
                    return false;
                }
                self.change(host, source, player);
            }
            Due::Lose(turn) => {
                let hosts = self.world.hosts.len();
                self.world.hosts[turn % hosts].lose();
                if let Some(every) = self.loss_every {
                    self.agenda.enter(self.world.now + every, Due::Lose(turn + 1));
                }
            }
            // An older wish, which a later one has replaced.
            Due::Wake => return self.wake.is_some_and(|wake| self.world.now + 1e-9 >= wake),
        }
        true
    }

    fn change(&mut self, host: usize, source: &mut dyn Source, player: &mut dyn Player) {
        self.world.hosts[host].begin_change(self.world.now);
        let mut index = 0;
        while let Some(phase) = self.world.hosts[host].due(index) {
            match phase {
                None => index += 1,
                Some(Phase::Decode) => {
                    let ticket = self.world.finish(host, index);
                    player.done(&mut self.world, ticket);
                    let agent = self.world.tickets[ticket].request.agent;
                    for next in source.next(agent, self.world.now) {
                        self.expect(next);
                    }
                }
                Some(_) => {
                    if let Some(ticket) = self.world.advance(host, index) {
                        player.first(&mut self.world, ticket);
                    }
                    index += 1;
                }
            }
        }
        self.world.admit(host);
    }

    fn settle(&mut self, player: &mut dyn Player) {
        player.settle(&mut self.world);
        let now = self.world.now;
        self.wake = player.next_wake();
        if let Some(wake) = self.wake {
            self.agenda.enter(wake.max(now), Due::Wake);
        }
        for (index, host) in self.world.hosts.iter().enumerate() {
            let version = host.version();
            if self.versions[index] == version {
                continue;
            }
            self.versions[index] = version;
            if let Some(at) = host.next_change() {
                self.agenda.enter(at.max(now), Due::Change { host: index, version });
            }
        }
    }
}
