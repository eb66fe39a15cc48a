//! Where a call goes: a slot by way of the scheduling core, or any backend for calls that need none.

use std::{cell::RefCell, cmp::Reverse, sync::Arc, time::Duration};

use sched::{BackendId, Block, Chain, Class, Refusal};
use wire::{Ask, Fault, Operation};

use super::{super::forward, Call, Run, no_route, refusal};
use crate::{
    config::Snapshot,
    dispatch::{Answer, Failed, Lease, Waiting, Wish},
    route::{Candidate, Found, Lookup},
};

/// A call's first slot: where, of which candidates, and the slot.
pub struct Placed {
    pub found: Found,
    pub chosen: usize,
    pub lease: Lease,
}

/// Waits for a slot on one of those found, which `snapshot` gave. When its fleet changes so that none of them can
/// take the call, the call is routed anew: nobody has seen anything of it.
pub async fn first(
    run: &Run,
    call: &Call,
    (mut snapshot, mut found): (Arc<Snapshot>, Found),
    mut patience: Duration,
) -> Result<Placed, Fault> {
    let shared = &run.worker.shared;
    let draw = found.draw(call.prompt.opening().unwrap_or(run.inquiry.key));
    loop {
        found.prefer(draw);
        let why = match slot(run, call, &snapshot, &found, patience).await {
            Ok((chosen, lease, newer)) => {
                return Ok(Placed { found: newer.map_or(found, |newer| *newer), chosen, lease });
            }
            Err(why) => why,
        };
        let newest = shared.snapshot.load_full();
        if !of_the_fleet(&why) || Arc::ptr_eq(&newest, &snapshot) {
            return Err(refusal(&call.ask.model, &why));
        }
        let dialect = call.operation.dialect();
        found = newest
            .table
            .candidates(&call.ask.model, dialect)
            .map_err(|none| no_route(&call.ask.model, dialect, none))?;
        snapshot = newest;
        patience = shared.limits.queue_wait.saturating_sub(run.inquiry.arrival.elapsed());
    }
}

/// Whether another fleet may have another answer.
fn of_the_fleet(why: &Refusal) -> bool {
    match why {
        Refusal::NoCandidate
        | Refusal::Unhealthy
        | Refusal::Draining
        | Refusal::TooLong { .. }
        | Refusal::Spare => true,
        Refusal::QueueFull { .. }
        | Refusal::Deadline { .. }
        | Refusal::Resting { .. }
        | Refusal::Exhausted { .. }
        | Refusal::Closing { .. } => false,
    }
}

/// Waits for a slot; with it comes what the call leads to by a newer snapshot, where that is another.
async fn slot(
    run: &Run,
    call: &Call,
    snapshot: &Arc<Snapshot>,
    found: &Found,
    patience: Duration,
) -> Result<(usize, Lease, Option<Box<Found>>), Refusal> {
    let shared = &run.worker.shared;
    let wish = Wish {
        key: run.inquiry.key,
        asked: shared.asked(snapshot, &call.ask.model),
        prompt_tokens: call.ask.prompt_tokens,
        prompt: call.prompt.clone(),
        policy: found.terms.policy,
        class: found.terms.class.max(call.class.unwrap_or(Class::Interactive)),
        candidates: found.numbered(),
        patience,
    };
    let waiting = shared.dispatch.arrive(wish, || lookup(call, found));
    catch_up(run, &waiting, Some(snapshot));
    run.inquiry.ticket.set(Some(waiting.ticket()));
    taken(run, call, waiting, found).await
}

/// Waits for the slot, and notes where it is or why there is none, and what led to it.
async fn taken(
    run: &Run,
    call: &Call,
    waiting: Waiting,
    found: &Found,
) -> Result<(usize, Lease, Option<Box<Found>>), Refusal> {
    let waits = waiting.queued();
    if waits {
        call.note.waits(waiting.ticket());
    }
    let Answer { said, story } = tokio::select! {
        biased;
        answer = waiting.slot() => answer,
        // In a box: few wait.
        () = async { Box::pin(forward::stranded(&run.worker, found)).await }, if waits => {
            return Err(Refusal::Spare);
        }
    };
    let (lease, grant, newer) = match said {
        Ok(taken) => taken,
        Err(why) => {
            call.note.refused(story);
            return Err(why);
        }
    };
    if let Some(chosen) = newer.as_deref().unwrap_or(found).candidates.get(grant.candidate) {
        let name = &chosen.backend.name;
        if let Some(wait) = call.note.started(name, &chosen.model, story) {
            run.worker.shared.report.queued(name, wait);
        }
    }
    Ok((grant.candidate, lease, newer))
}

thread_local! {
    /// The blocks of one prompt, while they become a chain.
    static BLOCKS: RefCell<Vec<wire::Block>> = const { RefCell::new(Vec::new()) };
}

/// Shorter prompts are not compared with what servers hold, in tokens: any server reads them in moments, and hashing
/// them would be the larger part of what placing them costs.
const PROMPT_TOKENS_MIN: u32 = 256;

/// The prompt as the core compares it with what servers hold; a short one only where it `draws` a target.
pub fn prompt(operation: Operation, ask: &Ask, text: &str, salt: u64, draws: bool) -> Chain {
    if !operation.takes_slot() || (ask.prompt_tokens < PROMPT_TOKENS_MIN && !draws) {
        return Chain::default();
    }
    BLOCKS.with_borrow_mut(|blocks| {
        blocks.clear();
        ask.blocks(operation, text, salt, blocks);
        let block = |block: &wire::Block| Block { hash: block.hash, tokens: block.tokens, own: block.own };
        Chain::new(blocks.iter().map(block))
    })
}

fn lookup(call: &Call, found: &Found) -> Lookup {
    Lookup { model: call.ask.model.clone(), dialect: call.operation.dialect(), found: found.clone() }
}

/// A snapshot that came after the one it was found by and before it waited did not find it waiting.
fn catch_up(run: &Run, waiting: &Waiting, by: Option<&Arc<Snapshot>>) {
    if waiting.queued() {
        let newest = run.worker.shared.snapshot.load();
        if by.is_none_or(|by| !Arc::ptr_eq(&newest, by)) {
            run.worker.shared.dispatch.renew(waiting.ticket(), &newest.table);
        }
    }
}

/// Another slot after a failed attempt, and which of those found it is, or why the core says that it is enough.
///
/// It stays with what it was found by while that leads to a backend that it was not `tried` on: who waits, or has nowhere
/// left to go, is found anew in the newest snapshot.
pub async fn again(
    run: &Run,
    call: &Call,
    (lease, fault, sent): (Lease, sched::Fault, bool),
    (found, tried): (&mut Found, &[BackendId]),
) -> Result<(usize, Lease), Refusal> {
    let snapshot = run.worker.shared.snapshot.load_full();
    let mut lookup = lookup(call, found);
    let mut ids = found.candidates.iter().map(|candidate| candidate.backend.id);
    let leads =
        ids.any(|id| !tried.contains(&id) && snapshot.backend(id).is_some_and(|backend| backend.up()));
    let newer = if leads { None } else { lookup.renew(&snapshot.table) };
    let offer = newer.as_ref().map(Found::numbered);
    if let Some(newer) = newer {
        lookup.found = newer.clone();
        *found = newer;
    }
    let waiting = lease.fail(Failed { fault, sent, offer, lookup });
    catch_up(run, &waiting, Some(&snapshot).filter(|_| !leads));
    let (chosen, lease, newer) = taken(run, call, waiting, found).await?;
    if let Some(newer) = newer {
        *found = *newer;
    }
    Ok((chosen, lease))
}

/// The backends for a call that occupies no engine: healthy ones, the highest priority first.
pub fn usable<'a>(snapshot: &Snapshot, candidates: &'a [Candidate]) -> Result<Vec<&'a Candidate>, Fault> {
    if !snapshot.fleet.owner {
        return Err(Fault::Spare);
    }
    let mut found: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.backend.up()).collect();
    found.sort_by_key(|candidate| (candidate.reserve, Reverse(candidate.backend.priority)));
    Ok(found)
}
