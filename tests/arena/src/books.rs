//! What a router writes down of the servers: a copy of their caches, measured rates, who may come back.
//!
//! The rivals work with these books, so that each rule has the same index and the same estimates; for comparison a
//! book may be exact.

mod rates;
mod returns;

use std::collections::{BTreeMap, VecDeque};

pub use rates::Outputs;
use rates::Rate;
pub use returns::{Ending, Returns};

use crate::cache::{Cache, Hit, Shape, shared};
use crate::engine::{Host, Job, Phase, World};
use crate::fleet::Machine;

/// How much a router knows.
#[derive(Clone, Copy, Debug)]
pub struct Insight {
    /// Caches are seen as they are.
    pub exact: bool,
    /// Caches, rates and lengths of answers are seen as they are.
    pub oracle: bool,
    /// Predicted hits are rounded down to a multiple of this, in tokens.
    pub grain: u64,
    /// What the copies hold, relative to what the caches do.
    pub capacity: f64,
    /// Whether reported hits correct the capacity of pools.
    pub learns: bool,
    /// Whether returns are told apart by how the last answer ended.
    pub reasons: bool,
}

impl Default for Insight {
    fn default() -> Self {
        Insight { exact: false, oracle: false, grain: 256, capacity: 1.0, learns: true, reasons: true }
    }
}

/// Prompts with fewer uncached tokens say nothing about a rate.
const UNCACHED_MIN: u64 = 256;
/// Answers shorter than this say nothing about a rate, in tokens.
const OUTPUT_MIN: u32 = 16;
/// The capacity of a pool is learned between these, in tokens.
const CAPACITY_BOUNDS: (u64, u64) = (20_000, 4_000_000);
/// A hit is missed by more than this share of the prompt, or by this many tokens, before the capacity changes.
const MISSED: (u64, u64) = (8, 1024);
/// A prefix counts as recent while less than this share of the capacity came in since.
const RECENT: f64 = 0.25;
/// A prefill that is late is taken to last this much longer, in seconds.
const LATE_S: f64 = 0.2;

/// What is known of one server.
struct Page {
    mirror: Cache,
    prefill: Rate,
    decode: Rate,
    /// Who has which seat of the mirror.
    occupants: Vec<Option<usize>>,
    /// The session that uses each slot, and since when.
    tenants: Vec<(u64, f64)>,
    /// Uncached tokens sent there, ever.
    assigned: u64,
    /// When and how many slot seconds were sent there.
    charges: VecDeque<(f64, f64)>,
}

/// What was estimated for a request when it started.
struct Running {
    seat: usize,
    predicted: u64,
    distance: f64,
    prefill_s: f64,
    output: f64,
}

/// All of it.
pub struct Books {
    insight: Insight,
    pages: Vec<Page>,
    running: BTreeMap<usize, Running>,
    /// Lengths of answers.
    pub outputs: Outputs,
    /// Who may come back.
    pub returns: Returns,
    /// Slot seconds that each key has had.
    pub service: Vec<f64>,
    /// Requests of each key that run.
    pub inflight: Vec<u32>,
}

impl Books {
    /// Empty ones.
    #[must_use]
    pub fn new(machines: &[Machine], insight: Insight) -> Self {
        let insight = Insight { exact: insight.exact || insight.oracle, ..insight };
        let scaled = |tokens: u64| (tokens as f64 * insight.capacity) as u64;
        let page = |machine: &Machine| {
            let shape = match machine.cache {
                Shape::Slots { ram } => Shape::Slots { ram: scaled(ram) },
                Shape::Pool { capacity } => Shape::Pool { capacity: scaled(capacity) },
            };
            let known = insight.oracle.then_some((machine.prefill_tps, machine.decode_tps));
            let (prefill, decode) = known.unwrap_or((1000.0, 30.0));
            Page {
                mirror: Cache::new(shape, machine.slots),
                prefill: Rate::guess(prefill, 2000.0),
                decode: Rate::guess(decode, 100.0),
                occupants: vec![None; machine.slots],
                tenants: vec![(0, -1e9); machine.slots],
                assigned: 0,
                charges: VecDeque::new(),
            }
        };
        Books {
            insight,
            pages: machines.iter().map(page).collect(),
            running: BTreeMap::new(),
            outputs: Outputs::default(),
            returns: Returns::new(insight.reasons),
            service: Vec::new(),
            inflight: Vec::new(),
        }
    }

    /// A request came in; `waiting` are the keys of those that wait.
    pub fn arrive(&mut self, world: &World, ticket: usize, waiting: impl Iterator<Item = usize>) {
        let request = &world.tickets[ticket].request;
        let key = request.key;
        let keys = self.service.len().max(key + 1);
        self.service.resize(keys, 0.0);
        self.inflight.resize(keys, 0);
        let mut waiting: Vec<usize> = waiting.collect();
        if self.inflight[key] == 0 && !waiting.contains(&key) {
            waiting.extend((0..keys).filter(|key| self.inflight[*key] > 0));
            let least = waiting.into_iter().map(|key| self.service[key]).min_by(f64::total_cmp);
            self.service[key] = least.map_or(self.service[key], |least| least.max(self.service[key]));
        }
        self.returns.arrive(request.session, world.now);
    }

    /// Starts a request, in the books and in the world.
    pub fn start(&mut self, world: &mut World, ticket: usize, host: usize) {
        let now = world.now;
        let predicted = self.peek(world, ticket, host).map_or(0, |hit| hit.cached);
        let load = world.load_s(ticket, host);
        let output = self.output(world, ticket);
        let input = f64::from(world.tickets[ticket].record.input);
        let prefill = self.prefill_s(world, host, input - predicted as f64, predicted as f64);
        world.start(ticket, host);
        let Some(job) = world.hosts[host].jobs.last() else { return };
        let request = &world.tickets[ticket].request;
        let page = &mut self.pages[host];
        if load > 0.0 {
            page.mirror.clear();
        }
        let distance = page.mirror.distance(&request.prompt);
        let seat = page.mirror.start(&request.prompt, now).expect("a mirror has a seat a slot").seat;
        page.occupants[seat] = Some(ticket);
        let slot = job.seat.filter(|_| self.insight.exact).unwrap_or(seat);
        if page.tenants[slot].0 != request.session {
            page.tenants[slot] = (request.session, now);
        }
        page.assigned += job.uncached;
        let charge = prefill + output / page.decode.tps();
        page.charges.push_back((now, charge));
        self.running.insert(ticket, Running { seat, predicted, distance, prefill_s: load + prefill, output });
        self.service[request.key] += charge;
        self.inflight[request.key] += 1;
    }

    /// A request has its first token.
    pub fn first(&mut self, world: &World, ticket: usize) {
        let Some(running) = self.running.get(&ticket) else { return };
        let record = &world.tickets[ticket].record;
        let (Some(host), Some(read)) = (record.host, record.read) else { return };
        let Some(job) = world.hosts[host].jobs.iter().find(|job| job.ticket == ticket) else { return };
        let page = &mut self.pages[host];
        if job.uncached >= UNCACHED_MIN && !job.accompanied {
            page.prefill.add(job.uncached as f64, world.now - read);
        }
        let missed = MISSED.1.max(u64::from(record.input) / MISSED.0);
        if !self.insight.learns || !page.mirror.pooled() {
            return;
        }
        if record.cached > running.predicted + missed.max(self.insight.grain) {
            page.mirror.scale(1.1, CAPACITY_BOUNDS);
        } else if record.cached + missed < running.predicted && running.distance > RECENT {
            page.mirror.scale(0.95, CAPACITY_BOUNDS);
        }
    }

    /// A request is answered.
    pub fn done(&mut self, world: &World, ticket: usize) {
        let Some(running) = self.running.remove(&ticket) else { return };
        let (request, record) = (&world.tickets[ticket].request, &world.tickets[ticket].record);
        let (Some(host), Some(started), Some(first)) = (record.host, record.started, record.first) else {
            return;
        };
        let page = &mut self.pages[host];
        if record.output >= OUTPUT_MIN {
            page.decode.add(f64::from(record.output), world.now - first);
        }
        page.mirror.finish(running.seat, &request.whole, world.now);
        page.occupants[running.seat] = None;
        let charged = running.prefill_s + running.output / page.decode.tps();
        self.service[request.key] += (world.now - started) - charged;
        self.inflight[request.key] -= 1;
        self.outputs.add(request.key, record.output);
        self.returns.leave(request.session, Ending::of(request.tool), world.now);
    }

    /// What a request would find on a host with a free slot; `None` when it has none.
    #[must_use]
    pub fn peek(&self, world: &World, ticket: usize, host: usize) -> Option<Hit> {
        let most = u64::from(world.tickets[ticket].record.input) - 1;
        if world.load_s(ticket, host) > 0.0 {
            return Some(Hit { seat: 0, cached: 0, restored: 0 });
        }
        if let Some(cached) = world.pooled(ticket) {
            return Some(Hit { seat: 0, cached, restored: 0 });
        }
        let hit = self.cache(world, host).peek(&world.tickets[ticket].request.prompt)?;
        let cached = if self.insight.exact { hit.cached } else { self.floor(hit.cached) };
        Some(Hit { cached: cached.min(most), ..hit })
    }

    /// The most of a request that a host has in any slot, also in those that are in use.
    #[must_use]
    pub fn matched(&self, world: &World, ticket: usize, host: usize) -> u64 {
        if world.load_s(ticket, host) > 0.0 {
            return 0;
        }
        let (prompt, cache) = (&world.tickets[ticket].request.prompt, self.cache(world, host));
        let found = if cache.pooled() {
            cache.pool_match(prompt)
        } else {
            let seats = cache.seats().iter().enumerate().map(|(index, seat)| {
                let occupant = self.occupant(world, host, index).filter(|_| seat.busy);
                let content = occupant.map_or(&seat.content, |job| &world.tickets[job.ticket].request.whole);
                shared(content, prompt)
            });
            let found = seats.max().unwrap_or(0);
            if cache.ram() > 0 { found.max(cache.best_at_rest(prompt)) } else { found }
        };
        self.floor(found).min(u64::from(world.tickets[ticket].record.input) - 1)
    }

    /// The cache of a host as it is seen.
    #[must_use]
    pub fn cache<'a>(&'a self, world: &'a World, host: usize) -> &'a Cache {
        if self.insight.exact { &world.hosts[host].cache } else { &self.pages[host].mirror }
    }

    /// Who has a seat of a host.
    #[must_use]
    pub fn occupant<'a>(&self, world: &'a World, host: usize, seat: usize) -> Option<&'a Job> {
        let has = |job: &&Job| match self.insight.exact {
            true => job.seat == Some(seat),
            false => self.pages[host].occupants[seat] == Some(job.ticket),
        };
        world.hosts[host].jobs.iter().find(has)
    }

    /// Rounded down to the grain.
    #[must_use]
    pub fn floor(&self, tokens: u64) -> u64 {
        tokens / self.insight.grain * self.insight.grain
    }

    /// The session that uses a slot, and since when.
    #[must_use]
    pub fn tenant(&self, host: usize, slot: usize) -> (u64, f64) {
        let tenants = &self.pages[host].tenants;
        tenants[slot.min(tenants.len() - 1)]
    }

    /// Uncached tokens sent to a host, ever.
    #[must_use]
    pub fn assigned(&self, host: usize) -> u64 {
        self.pages[host].assigned
    }

    /// Slot seconds sent to a host since then.
    pub fn charged(&mut self, host: usize, since: f64) -> f64 {
        let charges = &mut self.pages[host].charges;
        while charges.front().is_some_and(|(at, _)| *at < since) {
            charges.pop_front();
        }
        charges.iter().map(|(_, charge)| charge).sum()
    }

    /// How long an answer is expected to be, in tokens.
    #[must_use]
    pub fn output(&self, world: &World, ticket: usize) -> f64 {
        if self.insight.oracle {
            return f64::from(world.tickets[ticket].record.output);
        }
        self.outputs.mean(world.tickets[ticket].request.key)
    }

    /// Seconds to read so many tokens behind so many that are there.
    #[must_use]
    pub fn prefill_s(&self, world: &World, host: usize, uncached: f64, cached: f64) -> f64 {
        if self.insight.oracle {
            return world.hosts[host].machine.prefill_s(uncached, cached);
        }
        uncached / self.pages[host].prefill.tps()
    }

    /// Tokens a second.
    #[must_use]
    pub fn decode_tps(&self, world: &World, host: usize) -> f64 {
        match self.insight.oracle {
            true => world.hosts[host].machine.decode_tps,
            false => self.pages[host].decode.tps(),
        }
    }

    /// Seconds until a job ends.
    #[must_use]
    pub fn release_s(&self, world: &World, host: usize, job: &Job) -> f64 {
        let Host { machine, .. } = &world.hosts[host];
        let ticket = &world.tickets[job.ticket];
        if self.insight.oracle {
            let writing = f64::from(ticket.record.output) / machine.decode_tps;
            return match job.phase {
                Phase::Queued | Phase::Load => {
                    job.left + machine.prefill_s(job.uncached as f64, 0.0) + writing
                }
                Phase::Prefill => job.left + writing,
                Phase::Decode => job.left / machine.decode_tps,
            };
        }
        let decode = self.pages[host].decode.tps();
        match (job.phase, self.running.get(&job.ticket)) {
            (Phase::Decode, _) => self.outputs.left(ticket.request.key, job.generated) / decode,
            (_, Some(running)) => {
                (running.prefill_s - (world.now - job.since)).max(LATE_S) + running.output / decode
            }
            (_, None) => LATE_S,
        }
    }

    /// Seconds of prefill, each alone, of what a host has begun or will before anything else.
    #[must_use]
    pub fn prefills_s(&self, world: &World, host: usize) -> Vec<f64> {
        let reading = world.hosts[host].jobs.iter().filter(|job| job.phase != Phase::Decode);
        let left = |job: &Job| {
            if self.insight.oracle {
                return job.left + job.prefill_s;
            }
            let whole = self.running.get(&job.ticket).map_or(0.0, |running| running.prefill_s);
            (whole - (world.now - job.since)).max(0.1 * whole)
        };
        reading.map(left).collect()
    }
}
