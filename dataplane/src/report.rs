//! Counters and histograms of this data plane, in the OpenMetrics text form.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use sched::{Health, View};

use crate::config::Snapshot;

/// Seconds.
const BUCKETS: [f64; 15] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Who served, and how it ended. Backends are bounded by the configuration, the rest by enums.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    operation: &'static str,
    backend: String,
    status: u16,
}

/// What became of a request that was offered to another data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It answered.
    Answered,
    /// It has no permit for it either.
    Declined,
    /// It was not reached, or did not live on.
    Unreached,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Forwarded {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    backend: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    backend: String,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Of prompts that were compared with what servers hold, and of which servers told it: tokens thought to be cached, tokens
/// that were, and by how many those differ.
#[derive(Debug)]
struct Foreseen {
    expected: Counter,
    told: Counter,
    missed: Counter,
}

/// What is counted of one backend, found once by name: labels are built and hashed for the first request alone.
#[derive(Debug)]
struct Meter {
    queue_seconds: Histogram,
    ttft_seconds: Histogram,
    prompt: Counter,
    cached: Counter,
    output: Counter,
    foreseen: Foreseen,
    /// By operation and status, which are few.
    ended: RwLock<Vec<(&'static str, u16, Counter)>>,
}

/// What this data plane counts.
#[derive(Debug)]
pub struct Report {
    meters: RwLock<BTreeMap<Box<str>, Meter>>,
    registry: Registry,
    requests: Family<Ended, Counter>,
    tokens: Family<Tokens, Counter>,
    prefix: Family<Tokens, Counter>,
    queue_seconds: Family<At, Histogram, fn() -> Histogram>,
    ttft_seconds: Family<At, Histogram, fn() -> Histogram>,
    cancelled: Counter,
    forwarded: Family<Forwarded, Counter>,
    waiting: Gauge,
    slots: Family<At, Gauge>,
    busy: Family<At, Gauge>,
    up: Family<At, Gauge>,
    revision: Gauge<u64, AtomicU64>,
}

impl Report {
    /// All counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("llmb");
        let mut report = Self {
            meters: RwLock::default(),
            registry: Registry::default(),
            requests: Family::default(),
            tokens: Family::default(),
            prefix: Family::default(),
            queue_seconds: Family::new_with_constructor(histogram),
            ttft_seconds: Family::new_with_constructor(histogram),
            cancelled: Counter::default(),
            forwarded: Family::default(),
            waiting: Gauge::default(),
            slots: Family::default(),
            busy: Family::default(),
            up: Family::default(),
            revision: Gauge::default(),
        };
        registry.register("requests", "Requests answered, by status", report.requests.clone());
        registry.register("tokens", "Tokens as reported by backends", report.tokens.clone());
        let help = "Tokens of prompts expected to be cached, told to have been, and the difference of each";
        registry.register("prefix_tokens", help, report.prefix.clone());
        let queue = report.queue_seconds.clone();
        registry.register_with_unit("queue", "Wait for a slot", Unit::Seconds, queue);
        let ttft = report.ttft_seconds.clone();
        registry.register_with_unit("ttft", "Arrival to first content byte", Unit::Seconds, ttft);
        registry.register("cancelled", "Clients that left before the end", report.cancelled.clone());
        let help = "Requests offered to other data planes, for want of a lead and of a permit";
        registry.register("forwarded", help, report.forwarded.clone());
        registry.register("waiting", "Requests in the queue", report.waiting.clone());
        registry.register("slots", "Slots of a backend", report.slots.clone());
        registry.register("slots_busy", "Slots in use or cooling down", report.busy.clone());
        registry.register("backend_up", "1 when healthy", report.up.clone());
        registry.register("revision", "Revision of the configuration served by", report.revision.clone());
        report.registry = registry;
        report
    }

    /// A request was answered.
    pub fn ended(&self, operation: &'static str, backend: &str, status: u16) {
        self.at(backend, |meter| {
            let ended = meter.ended.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, _, count)) = ended.iter().find(|row| (row.0, row.1) == (operation, status)) {
                count.inc();
                return;
            }
            drop(ended);
            let row = Ended { operation, backend: backend.to_owned(), status };
            let count = self.requests.get_or_create(&row).clone();
            count.inc();
            let mut ended = meter.ended.write().unwrap_or_else(PoisonError::into_inner);
            if !ended.iter().any(|row| (row.0, row.1) == (operation, status)) {
                ended.push((operation, status, count));
            }
        });
    }

    /// A client left before the end.
    pub fn left(&self) {
        self.cancelled.inc();
    }

    /// A request was offered to another data plane.
    pub fn forwarded(&self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Answered => "answered",
            Outcome::Declined => "declined",
            Outcome::Unreached => "unreached",
        };
        self.forwarded.get_or_create(&Forwarded { outcome }).inc();
    }

    /// Requests that other data planes answered.
    pub fn passed_on(&self) -> u64 {
        self.forwarded.get_or_create(&Forwarded { outcome: "answered" }).get()
    }

    /// A request got its slot at `backend` after `wait`.
    pub fn queued(&self, backend: &str, wait: Duration) {
        self.at(backend, |meter| meter.queue_seconds.observe(wait.as_secs_f64()));
    }

    /// The first content byte of a request came so long after its arrival.
    pub fn first_token(&self, backend: &str, after: Duration) {
        self.at(backend, |meter| meter.ttft_seconds.observe(after.as_secs_f64()));
    }

    /// What a backend reported at the end of an answer.
    pub fn usage(&self, backend: &str, usage: &wire::Usage) {
        self.at(backend, |meter| {
            let counts =
                [(&meter.prompt, usage.prompt), (&meter.cached, usage.cached), (&meter.output, usage.output)];
            for (counter, count) in counts {
                counter.inc_by(count.unwrap_or(0));
            }
        });
    }

    /// A backend told how much of a prompt was `cached`, where so much was `expected`.
    pub fn foreseen(&self, backend: &str, expected: u32, cached: u32) {
        self.at(backend, |meter| {
            meter.foreseen.expected.inc_by(expected.into());
            meter.foreseen.told.inc_by(cached.into());
            meter.foreseen.missed.inc_by(expected.abs_diff(cached).into());
        });
    }

    fn at(&self, backend: &str, count: impl FnOnce(&Meter)) {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.get(backend) {
            return count(meter);
        }
        drop(meters);
        let at = At { backend: backend.to_owned() };
        let tokens = |kind| self.tokens.get_or_create(&Tokens { backend: backend.to_owned(), kind }).clone();
        let prefix = |kind| self.prefix.get_or_create(&Tokens { backend: backend.to_owned(), kind }).clone();
        let meter = Meter {
            queue_seconds: self.queue_seconds.get_or_create(&at).clone(),
            ttft_seconds: self.ttft_seconds.get_or_create(&at).clone(),
            prompt: tokens("prompt"),
            cached: tokens("cached"),
            output: tokens("output"),
            foreseen: Foreseen {
                expected: prefix("expected"),
                told: prefix("told"),
                missed: prefix("missed"),
            },
            ended: RwLock::default(),
        };
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        count(meters.entry(backend.into()).or_insert(meter));
    }

    /// Everything as OpenMetrics text.
    #[must_use]
    pub fn render(&self, snapshot: &Snapshot, view: &View) -> String {
        self.waiting.set(i64::try_from(view.waiting).unwrap_or(i64::MAX));
        self.revision.set(snapshot.revision);
        // Backends that are gone must not be shown for ever.
        self.slots.clear();
        self.busy.clear();
        self.up.clear();
        for (id, row) in &view.backends {
            let Some(backend) = snapshot.backend(*id) else { continue };
            let at = At { backend: backend.name.to_string() };
            self.slots.get_or_create(&at).set(i64::from(row.slots));
            self.busy.get_or_create(&at).set(i64::from(row.busy + row.cooling));
            self.up.get_or_create(&at).set(i64::from(backend.health == Health::Healthy));
        }
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
