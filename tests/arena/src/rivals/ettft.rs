//! The published rule: over one queue, the least estimated cost in seconds, now or after a wait.

mod choice;
mod order;

use std::collections::BTreeMap;

use crate::books::{Books, Insight};
use crate::cache::Sequence;
use crate::engine::{Player, World};
use crate::fleet::Machine;

/// The terms of the rule; `Switches::default()` is what its author recommends.
#[derive(Clone, Copy, Debug)]
pub struct Switches {
    /// Weight of the prefill that a start makes others repeat.
    pub eviction: f64,
    /// Who is expected back within this many seconds would have to repeat it.
    pub horizon: f64,
    /// Weight of what a prefill costs the others on its server.
    pub interference: f64,
    /// Whether to wait for busy slots at all.
    pub waits: bool,
    /// Waiting must be better by this share.
    pub margin: f64,
    /// A wait lasts at most this share of what it saves.
    pub budget: f64,
    /// And at most this many seconds.
    pub wait_max: f64,
    /// Whether the end of running requests is predicted; without, a busy slot counts as free at once.
    pub predicts: bool,
    /// How sure a return must be for a slot to be held: seconds of prefill, times the chance a second, above 1.
    pub hold: f64,
    /// A slot is held for this many seconds after its last use.
    pub hold_max: f64,
    /// A session holds a slot for this many seconds in all.
    pub tenure: f64,
    /// Who is older takes the best free slot, in seconds.
    pub age_max: f64,
    /// Waiting requests that are looked at.
    pub window: usize,
    /// Slot seconds by which keys may differ before arrival no longer decides; `None` is first come first served.
    pub fair: Option<f64>,
}

impl Default for Switches {
    fn default() -> Self {
        Switches {
            eviction: 2.0,
            horizon: 60.0,
            interference: 1.0,
            waits: true,
            margin: 0.2,
            budget: 0.5,
            wait_max: 20.0,
            predicts: true,
            hold: 1.0,
            hold_max: 20.0,
            tenure: 300.0,
            age_max: 60.0,
            window: 64,
            fair: None,
        }
    }
}

/// While a slot is held it is looked at again after so many seconds.
const HELD_WAKE_S: f64 = 0.5;
/// A wait is at least this long, in seconds.
const WAIT_MIN_S: f64 = 0.05;
/// How long a busy slot of which nothing is known lasts, in seconds.
const UNKNOWN_S: f64 = 5.0;

/// The rule at work.
pub struct Ettft {
    switches: Switches,
    books: Books,
    waiting: Vec<usize>,
    /// When a request first preferred to wait, and what it was to save.
    declined: BTreeMap<usize, (f64, f64)>,
    wake: Option<f64>,
}

/// A slot in the time to come.
struct Seat {
    /// From when on it is free.
    at: f64,
    /// What it holds then.
    content: Sequence,
}

/// The best free slot, or the best busy one, for a request.
#[derive(Clone, Copy)]
struct Choice {
    cost: f64,
    host: usize,
    seat: usize,
    /// Until it is free.
    wait: f64,
    /// Load and prefill.
    service: f64,
}

impl Ettft {
    /// With nothing waiting.
    #[must_use]
    pub fn new(switches: Switches, machines: &[Machine], insight: Insight) -> Self {
        let books = Books::new(machines, insight);
        Ettft { switches, books, waiting: Vec::new(), declined: BTreeMap::new(), wake: None }
    }

    fn wake_by(&mut self, at: f64) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// The slots of every host as they will be if nothing more starts.
    fn timeline(&self, world: &World) -> Vec<Vec<Seat>> {
        let host = |host| {
            let seats = self.books.cache(world, host).seats().iter().enumerate();
            let seat = |(index, seat): (usize, &crate::cache::Seat)| {
                if !seat.busy {
                    return Seat { at: world.now, content: Sequence::from([]) };
                }
                match self.books.occupant(world, host, index) {
                    Some(job) => Seat {
                        at: world.now + self.books.release_s(world, host, job),
                        content: Sequence::clone(&world.tickets[job.ticket].request.whole),
                    },
                    None => Seat { at: world.now + UNKNOWN_S, content: Sequence::clone(&seat.content) },
                }
            };
            seats.map(seat).collect()
        };
        (0..world.hosts.len()).map(host).collect()
    }

    /// Starts the first who may; whether there was one.
    fn pass(&mut self, world: &mut World) -> bool {
        if self.waiting.is_empty() || world.hosts.iter().all(|host| host.free() == 0) {
            return false;
        }
        let mut timeline = self.timeline(world);
        for ticket in self.order(world) {
            let (now, wait, held) = self.choices(world, ticket, &timeline);
            if let Some(now) = now.filter(|now| self.goes(world, ticket, now, wait.as_ref())) {
                self.waiting.retain(|waiting| *waiting != ticket);
                self.declined.remove(&ticket);
                self.books.start(world, ticket, now.host);
                return true;
            }
            if held {
                self.wake_by(world.now + HELD_WAKE_S);
            }
            if let Some(wait) = wait {
                let writing = self.books.output(world, ticket) / self.books.decode_tps(world, wait.host);
                let seat = &mut timeline[wait.host][wait.seat];
                seat.at = seat.at.max(world.now) + (wait.service + writing).max(WAIT_MIN_S);
                seat.content = Sequence::clone(&world.tickets[ticket].request.whole);
            }
        }
        false
    }

    /// Whether a request takes the free slot; if not, it waits for the busy one within its budget.
    fn goes(&mut self, world: &World, ticket: usize, free: &Choice, busy: Option<&Choice>) -> bool {
        let Some(busy) = busy.filter(|busy| free.cost * (1.0 - self.switches.margin) > busy.cost) else {
            return true;
        };
        let saved = (free.cost - (busy.cost - busy.wait)).max(0.0);
        let (since, first) = *self.declined.entry(ticket).or_insert((world.now, saved));
        let budget = (self.switches.budget * first.max(saved)).min(self.switches.wait_max);
        let waited = world.now - since;
        if waited >= budget {
            return true;
        }
        self.wake_by(world.now + (budget - waited).max(WAIT_MIN_S));
        false
    }
}

impl Player for Ettft {
    fn arrive(&mut self, world: &mut World, ticket: usize) {
        let keys = self.waiting.iter().map(|waiting| world.tickets[*waiting].request.key);
        self.books.arrive(world, ticket, keys);
        self.waiting.push(ticket);
    }

    fn first(&mut self, world: &mut World, ticket: usize) {
        self.books.first(world, ticket);
    }

    fn done(&mut self, world: &mut World, ticket: usize) {
        self.books.done(world, ticket);
    }

    fn settle(&mut self, world: &mut World) {
        self.wake = None;
        while self.pass(world) {}
    }

    fn next_wake(&self) -> Option<f64> {
        self.wake
    }
}
