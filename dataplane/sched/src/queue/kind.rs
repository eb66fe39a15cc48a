//! What makes tickets equal before every backend.

use std::sync::Arc;

use super::Ticket;
use crate::{BackendId, Candidate, ModelId, Policy};

/// Where tickets may go, by which rule, and by which name each of those backends knows the model.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) eligible: Arc<[BackendId]>,
    /// Of each of `eligible`.
    models: Box<[ModelId]>,
    /// By which rule they are placed there.
    pub(crate) policy: Policy,
    /// The `reserve` of each of `eligible`; empty where all are 0.
    reserves: Box<[u8]>,
}

impl Kind {
    /// Of a ticket that may go to `eligible`, which is sorted. Where a backend is a candidate twice, the first counts.
    pub(super) fn of_ticket(ticket: &Ticket, eligible: &[BackendId]) -> Self {
        let mut candidates: Vec<Candidate> = ticket.arrival.candidates.to_vec();
        candidates.sort_by_key(|candidate| candidate.backend);
        candidates.dedup_by_key(|candidate| candidate.backend);
        let of = |backend: &BackendId| {
            let at = candidates.binary_search_by_key(backend, |candidate| candidate.backend);
            candidates[at.expect("only candidates are eligible")]
        };
        let reserved = candidates.iter().any(|candidate| candidate.reserve > 0);
        Kind {
            eligible: eligible.into(),
            models: eligible.iter().map(|backend| of(backend).model).collect(),
            policy: ticket.arrival.policy,
            reserves: eligible.iter().filter(|_| reserved).map(|backend| of(backend).reserve).collect(),
        }
    }

    /// By which name a backend knows the model.
    pub(crate) fn model(&self, backend: BackendId) -> Option<ModelId> {
        Some(self.models[self.eligible.binary_search(&backend).ok()?])
    }

    /// Those of a `reserve`.
    pub(crate) fn of(&self, reserve: u8) -> impl Iterator<Item = BackendId> {
        let all = self.eligible.iter().enumerate();
        all.filter(move |(at, _)| self.reserves.get(*at).copied().unwrap_or_default() == reserve)
            .map(|(_, backend)| *backend)
    }

    /// The `reserve` that is in force where only some are `able` to serve.
    pub(crate) fn reserve(&self, able: impl Fn(BackendId) -> bool) -> u8 {
        let all = self.reserves.iter().zip(self.eligible.iter());
        all.filter(|(_, backend)| able(**backend)).map(|(reserve, _)| *reserve).min().unwrap_or_default()
    }
}
