//! Where a call goes: a slot by way of the scheduling core, or any backend for calls that need none.

use wire::{Ask, Fault};

use super::{Run, refusal};
use crate::{
    config::Snapshot,
    dispatch::{Lease, Wish},
    route::Candidate,
};

/// Waits for a slot on one of the candidates.
pub async fn slot<'a>(
    run: &Run,
    ask: &Ask,
    candidates: &'a [Candidate],
) -> Result<(&'a Candidate, Lease), Fault> {
    let shared = &run.worker.shared;
    let waiting = shared.dispatch.arrive(Wish {
        key: run.inquiry.key,
        prompt_tokens: ask.prompt_tokens,
        candidates: candidates.iter().map(|candidate| candidate.backend.id).collect(),
        patience: shared.limits.queue_wait,
    });
    run.inquiry.ticket.set(Some(waiting.ticket()));
    let (lease, grant) = waiting.slot().await.map_err(|why| refusal(&ask.model, &why))?;
    let chosen = candidates.get(grant.candidate).ok_or(Fault::Internal)?;
    shared.report.queued(&chosen.backend.name, run.inquiry.arrival.elapsed());
    Ok((chosen, lease))
}

/// Another slot after a failed attempt; none when the core says that it is enough.
pub async fn again(
    failed: Lease,
    cause: sched::Fault,
    sent: bool,
    candidates: &[Candidate],
) -> Option<(&Candidate, Lease)> {
    let (lease, grant) = failed.fail(cause, sent).slot().await.ok()?;
    Some((candidates.get(grant.candidate)?, lease))
}

/// The backends for a call that occupies no engine: healthy ones, the highest priority first.
pub fn usable<'a>(snapshot: &Snapshot, candidates: &'a [Candidate]) -> Result<Vec<&'a Candidate>, Fault> {
    if !snapshot.fleet.owner {
        return Err(Fault::Spare);
    }
    let usable = |candidate: &&Candidate| candidate.backend.healthy && !candidate.backend.draining;
    let mut found: Vec<&Candidate> = candidates.iter().filter(usable).collect();
    found.sort_by_key(|candidate| std::cmp::Reverse(candidate.backend.priority));
    Ok(found)
}
