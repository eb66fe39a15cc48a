//! What the core knows of the servers: handed over whole, by `Event::Adopt`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::affinity::Cache;
use crate::policy::Tuning;
use crate::{BackendId, ModelId, Span};

/// The most slots of one backend that are used; a larger number counts as this one.
pub const SLOTS_MAX: u32 = 65_536;

/// All backends and the limits of the queue in front of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Whether this scheduler owns the slots. One that does not starts nothing and refuses with `Spare`.
    pub owner: bool,
    /// How many tickets may wait. A lower bound adopted later turns away newcomers, not who waits already.
    pub queue_max: usize,
    /// The figures by which requests are placed.
    pub tuning: Tuning,
    /// The backends; one that is missing here gets no new work, and what runs on it is counted to its end.
    pub backends: BTreeMap<BackendId, Backend>,
}

/// One backend as far as placing requests goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// How many requests it may have in flight, at most `SLOTS_MAX`.
    pub slots: u32,
    /// Higher first among backends with a free slot.
    pub priority: i32,
    /// The longest prompt it takes, in tokens; `None` when it is not known.
    pub max_input_tokens: Option<u32>,
    /// What probes say of it.
    pub health: Health,
    /// Whether it takes no new work and only finishes what runs.
    pub draining: bool,
    /// How long a slot stays taken after a request was cut off: the engine works on for a moment.
    pub release_grace: Span,
    /// How it keeps prompts.
    pub cache: Cache,
    /// How many models it holds in memory at a time: while as many are in use no other is loaded there. `None`: all
    /// that it serves.
    pub models_max: Option<u32>,
    /// The models that were in its memory when it was last asked, where it holds some at a time.
    pub resident: Arc<[ModelId]>,
    /// Drawn for it once, the same at all data planes, as from its name: of equals a conversation takes the one that it and
    /// this say, whatever their numbers. Where it is the same for both, their numbers decide.
    pub lot: u32,
}

impl Backend {
    /// Whether new requests may start on it, as far as others say: its breaker must agree.
    pub fn up(&self) -> bool {
        self.health != Health::Unhealthy && !self.draining
    }
}

/// What probes say of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing, or nothing that still counts: its breaker alone decides. One that was unhealthy until now begins
    /// with a trial.
    #[default]
    Unknown,
    /// It is well.
    Healthy,
    /// It is down: nothing new starts on it. Who waits for it waits on until the deadline.
    Unhealthy,
}
