//! Where a call goes: a slot by way of the scheduling core, or any backend for calls that need none.

use std::rc::Rc;

use wire::{Ask, Fault};

use super::{super::Worker, Inquiry, refusal};
use crate::{
    config::Snapshot,
    dispatch::{Lease, Wish},
    route::Candidate,
};

/// Waits for a slot on one of the candidates.
pub async fn slot<'a>(
    worker: &Rc<Worker>,
    inquiry: &Inquiry,
    ask: &Ask,
    candidates: &'a [Candidate],
) -> Result<(&'a Candidate, Lease), Fault> {
    let shared = &worker.shared;
    let waiting = shared.dispatch.arrive(Wish {
        key: inquiry.key,
        prompt_tokens: ask.prompt_tokens,
        candidates: candidates.iter().map(|candidate| candidate.backend.id).collect(),
        patience: shared.limits.queue_wait,
    });
    let (lease, grant) = waiting.slot().await.map_err(|why| refusal(&ask.model, &why))?;
    let chosen = candidates.get(grant.candidate).ok_or(Fault::Internal)?;
    shared.report.queued(&chosen.backend.name, inquiry.arrival.elapsed());
    Ok((chosen, lease))
}

/// The best backend for a call that occupies no engine: the first healthy one of the highest priority.
pub fn any<'a>(
    snapshot: &Snapshot,
    model: &str,
    candidates: &'a [Candidate],
) -> Result<&'a Candidate, Fault> {
    if !snapshot.fleet.owner {
        return Err(Fault::Spare);
    }
    let usable = |candidate: &&Candidate| candidate.backend.healthy && !candidate.backend.draining;
    candidates
        .iter()
        .filter(usable)
        .rev()
        .max_by_key(|candidate| candidate.backend.priority)
        .ok_or_else(|| refusal(model, &sched::Refusal::Unhealthy))
}
