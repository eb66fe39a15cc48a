//! The rows of the books.

use sched::{Arrival, BackendId, ModelId, Moment, Policy, Refusal, SlotId};

/// Someone who waits.
#[derive(Clone, Debug)]
pub struct Wait {
    /// What it wants.
    pub arrival: Arrival,
    /// When it arrived.
    pub since: Moment,
    /// Where it was tried.
    pub tried: Vec<BackendId>,
    /// Since when it found servers where nobody listened.
    pub unreached: Option<Moment>,
}

impl Wait {
    /// Whether it may be better off waiting than with a free slot, or a free slot be kept for another.
    pub fn chooses(&self) -> bool {
        self.arrival.policy == Policy::CacheAffine
    }

    /// How far a backend is kept in reserve for it.
    pub fn reserve(&self, backend: BackendId) -> Option<u8> {
        let mut candidates = self.arrival.candidates.iter();
        candidates.find(|candidate| candidate.backend == backend).map(|candidate| candidate.reserve)
    }

    /// The model that it is to have on a backend.
    pub fn model(&self, backend: BackendId) -> Option<ModelId> {
        let mut candidates = self.arrival.candidates.iter();
        candidates.find(|candidate| candidate.backend == backend).map(|candidate| candidate.model)
    }
}

/// A slot that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// Where.
    pub backend: BackendId,
    /// Which.
    pub slot: SlotId,
    /// The model that it has there.
    pub model: Option<ModelId>,
    /// From when.
    pub since: Moment,
    /// Whether the first token has passed.
    pub streaming: bool,
    /// How often the backend's breaker had opened when it started.
    pub era: u32,
    /// Who holds it, as it waited before.
    pub wait: Wait,
}

/// A start of the last event, with what the ledger knew just before it.
#[derive(Clone, Debug)]
pub struct Started {
    /// Who.
    pub wait: Wait,
    /// What it got.
    pub held: Held,
    /// Whether another request had that slot.
    pub taken: bool,
    /// Whether the backend could take nothing.
    pub full: bool,
    /// Another of its candidates on which its model was being loaded when it made this one load it too.
    pub twice: Option<BackendId>,
    /// A backend with a free slot that it should have got instead.
    pub better: Option<BackendId>,
    /// The `reserve` that was in force for it.
    pub reserve: u8,
}

/// A refusal of the last event.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Who.
    pub wait: Wait,
    /// Why.
    pub why: Refusal,
    /// How many others waited.
    pub others: usize,
    /// Whether one retry more would have been too many.
    pub spent: bool,
}
