//! The world at one moment: servers, requests, and the one thing that may be done to them.

use super::host::{Host, Job, Phase};
use super::{Run, Setting};
use crate::cache::{Cache, Hit, Shape};
use crate::work::Request;

/// Host memory gives back so many tokens a second.
const RESTORED_TPS: f64 = 100_000.0;
/// What every request costs before its first token, in seconds.
const OVERHEAD_S: f64 = 0.02;

/// What became of a request; times in seconds.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose it was.
    pub key: usize,
    /// When it arrived.
    pub arrived: f64,
    /// When it was sent to a server.
    pub started: Option<f64>,
    /// When the server began with it.
    pub begun: Option<f64>,
    /// When the server began to read the prompt.
    pub read: Option<f64>,
    /// When its first token came.
    pub first: Option<f64>,
    /// When its last token came.
    pub done: Option<f64>,
    /// Where it was sent.
    pub host: Option<usize>,
    /// The length of its prompt in tokens.
    pub input: u32,
    /// The length of its answer in tokens.
    pub output: u32,
    /// Tokens of the prompt that the server had.
    pub cached: u64,
    /// Whether it was turned away.
    pub refused: bool,
}

/// A request in the world.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// What it asks for.
    pub request: Request,
    /// What became of it so far.
    pub record: Record,
}

/// Everything there is.
pub struct World {
    /// Seconds since the beginning.
    pub now: f64,
    /// The servers.
    pub hosts: Vec<Host>,
    /// All requests that arrived, by number.
    pub tickets: Vec<Ticket>,
    pool: Option<Cache>,
}

impl World {
    pub(super) fn new(setting: &Setting) -> Self {
        let hosts = setting.machines.iter().map(|machine| Host::new(machine, setting.warmup)).collect();
        let pool = setting.shared_pool.then(|| Cache::new(Shape::Pool { capacity: u64::MAX }, 1));
        World { now: 0.0, hosts, tickets: Vec::new(), pool }
    }

    /// Whether the host could ever take the request.
    #[must_use]
    pub fn feasible(&self, ticket: usize, host: usize) -> bool {
        let (ticket, machine) = (&self.tickets[ticket], &self.hosts[host].machine);
        ticket.record.input <= machine.input_max && machine.serves(ticket.request.model)
    }

    /// Whether the request would begin at once on the host.
    #[must_use]
    pub fn open(&self, ticket: usize, host: usize) -> bool {
        self.feasible(ticket, host) && self.hosts[host].open(self.tickets[ticket].request.model)
    }

    /// Seconds that the host needs to load the request's model.
    #[must_use]
    pub fn load_s(&self, ticket: usize, host: usize) -> f64 {
        self.hosts[host].load_s(self.tickets[ticket].request.model)
    }

    /// What the cache that all share has of the request; `None` when there is no such cache.
    #[must_use]
    pub fn pooled(&self, ticket: usize) -> Option<u64> {
        let ticket = &self.tickets[ticket];
        let found = self.pool.as_ref()?.pool_match(&ticket.request.prompt);
        Some(found.min(u64::from(ticket.record.input) - 1))
    }

    /// Sends a waiting request to a host. One that has another model in use lets it wait.
    ///
    /// # Panics
    /// When it was sent before, the host cannot take it, or has no free slot.
    pub fn start(&mut self, ticket: usize, host: usize) {
        assert!(self.tickets[ticket].record.started.is_none(), "request {ticket} is started twice");
        assert!(self.feasible(ticket, host), "request {ticket} does not fit server {host}");
        assert!(self.hosts[host].free() > 0, "server {host} has no free slot for request {ticket}");
        let now = self.now;
        self.hosts[host].begin_change(now);
        self.hosts[host].jobs.push(Job {
            ticket,
            seat: None,
            phase: Phase::Queued,
            left: 0.0,
            prefill_s: 0.0,
            since: now,
            phase_since: now,
            generated: 0.0,
            uncached: 0,
            accompanied: false,
        });
        let record = &mut self.tickets[ticket].record;
        (record.started, record.host) = (Some(now), Some(host));
        self.admit(host);
    }

    /// Turns a waiting request away: it counts as one that waits until the end.
    pub fn refuse(&mut self, ticket: usize) {
        self.tickets[ticket].record.refused = true;
    }

    pub(super) fn arrive(&mut self, request: Request) -> usize {
        let record = Record {
            key: request.key,
            arrived: self.now,
            started: None,
            begun: None,
            read: None,
            first: None,
            done: None,
            host: None,
            input: request.input(),
            output: request.output(),
            cached: 0,
            refused: false,
        };
        self.tickets.push(Ticket { request, record });
        self.tickets.len() - 1
    }

    /// Begins what is queued on a host, in order, as far as its model allows.
    pub(super) fn admit(&mut self, host: usize) {
        loop {
            let jobs = &self.hosts[host].jobs;
            let queued = jobs.iter().enumerate().filter(|(_, job)| job.phase == Phase::Queued);
            let first =
                queued.min_by(|(_, a), (_, b)| a.since.total_cmp(&b.since).then(a.ticket.cmp(&b.ticket)));
            let Some((index, _)) = first else { return };
            let model = self.tickets[jobs[index].ticket].request.model;
            let idle = jobs.iter().all(|job| job.phase == Phase::Queued);
            if self.hosts[host].load_s(model) > 0.0 && !idle {
                return;
            }
            self.begin(host, index);
        }
    }

    fn begin(&mut self, host: usize, index: usize) {
        let now = self.now;
        let number = self.hosts[host].jobs[index].ticket;
        let shared = self.pooled(number);
        let ticket = &mut self.tickets[number];
        let host = &mut self.hosts[host];
        let load = host.load_s(ticket.request.model);
        if load > 0.0 {
            host.cache.clear();
        }
        host.resident = Some(ticket.request.model);
        let hit = host.cache.start(&ticket.request.prompt, now).expect("a free slot is a free seat");
        let Hit { seat, cached, restored } = hit;
        let input = u64::from(ticket.record.input);
        let cached = match shared {
            Some(_) if load > 0.0 => 0,
            Some(shared) => shared,
            None => cached.min(input - 1),
        };
        let uncached = input - cached;
        let reading = host.machine.prefill_s(uncached as f64, cached as f64);
        let prefill_s = reading + restored as f64 / RESTORED_TPS + OVERHEAD_S;
        let job = &mut host.jobs[index];
        (job.seat, job.uncached, job.phase_since) = (Some(seat), uncached, now);
        (job.phase, job.left, job.prefill_s) = match load > 0.0 {
            true => (Phase::Load, load, prefill_s),
            false => (Phase::Prefill, prefill_s, 0.0),
        };
        host.note_company();
        let record = &mut ticket.record;
        (record.cached, record.begun) = (cached, Some(now));
        record.read = (load == 0.0).then_some(now);
        if let Some(pool) = &mut self.pool {
            pool.insert(&ticket.request.prompt, now);
        }
    }

    /// Takes a job into its next phase; the answer is the ticket that has its first token now.
    pub(super) fn advance(&mut self, host: usize, index: usize) -> Option<usize> {
        let job = &mut self.hosts[host].jobs[index];
        job.phase_since = self.now;
        let record = &mut self.tickets[job.ticket].record;
        if job.phase == Phase::Load {
            (job.phase, job.left, job.prefill_s) = (Phase::Prefill, job.prefill_s, 0.0);
            record.read = Some(self.now);
            return None;
        }
        (job.phase, job.left) = (Phase::Decode, f64::from(record.output));
        record.first = Some(self.now);
        Some(job.ticket)
    }

    pub(super) fn finish(&mut self, host: usize, index: usize) -> usize {
        let job = self.hosts[host].jobs.swap_remove(index);
        let ticket = &mut self.tickets[job.ticket];
        ticket.record.done = Some(self.now);
        let seat = job.seat.expect("a job that generates has a seat");
        self.hosts[host].cache.finish(seat, &ticket.request.whole, self.now);
        if let Some(pool) = &mut self.pool {
            pool.insert(&ticket.request.whole, self.now);
        }
        job.ticket
    }

    pub(super) fn close(mut self, setting: &Setting, keys: usize) -> Run {
        let end = self.now.min(setting.horizon).max(setting.warmup + 1.0);
        for host in &mut self.hosts {
            host.progress(end);
        }
        Run {
            records: self.tickets.into_iter().map(|ticket| ticket.record).collect(),
            busy_s: self.hosts.iter().map(Host::busy_s).collect(),
            end,
            warmup: setting.warmup,
            keys,
            slots: setting.machines.iter().map(|machine| machine.slots).sum(),
        }
    }
}
