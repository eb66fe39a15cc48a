//! Which backend: who may serve a request at all, and which of those with a free slot takes it.

use std::cmp::Ordering;

use crate::queue::Ticket;
use crate::rng::draw;
use crate::slots::{Room, Slots};
use crate::{Arrival, Backend, BackendId, CANDIDATES_MAX, Moment, Refusal};

/// What an estimate of a prompt's length may fall short by: it fits where it fits with this much added.
pub const INPUT_MARGIN_PERCENT: u64 = 10;

/// The candidate to start on now: higher priority, then the larger share of free slots, then by the seed.
pub(crate) fn choose(seed: u64, ticket: &Ticket, slots: &Slots) -> Option<(u16, BackendId)> {
    let arrival = &ticket.arrival;
    let mut best: Option<(u16, BackendId, &Room)> = None;
    for (index, candidate) in (0u16..).zip(arrival.candidates.iter().take(CANDIDATES_MAX)) {
        let Some(room) = slots.room(candidate.backend) else { continue };
        if room.free() == 0
            || !fits(arrival.prompt_tokens, &room.backend)
            || ticket.tried.contains(candidate.backend)
        {
            continue;
        }
        let better = best.is_none_or(|(_, id, other)| {
            let tie = || {
                let draw = |backend: BackendId| draw(seed, arrival.ticket.0, u64::from(backend.0));
                draw(candidate.backend).cmp(&draw(id))
            };
            rank(room, other).then_with(tie) == Ordering::Greater
        });
        if better {
            best = Some((index, candidate.backend, room));
        }
    }
    best.map(|(index, backend, _)| (index, backend))
}

/// The candidate that stands for this backend.
pub(crate) fn named(arrival: &Arrival, backend: BackendId) -> Option<(u16, BackendId)> {
    let mut candidates = (0u16..).zip(arrival.candidates.iter().take(CANDIDATES_MAX));
    candidates.find(|(_, candidate)| candidate.backend == backend).map(|(index, _)| (index, backend))
}

/// The backends that may serve a request and were not tried, sorted, whether they are up or not; or why there
/// are none.
pub(crate) fn eligible(ticket: &Ticket, slots: &Slots) -> Result<Vec<BackendId>, Refusal> {
    let arrival = &ticket.arrival;
    let mut eligible = Vec::new();
    let mut limit = None;
    let mut drains = true;
    for candidate in arrival.candidates.iter().take(CANDIDATES_MAX) {
        let Some(room) = slots.room(candidate.backend) else { continue };
        if ticket.tried.contains(candidate.backend) {
            continue;
        }
        if fits(arrival.prompt_tokens, &room.backend) {
            eligible.push(candidate.backend);
            drains &= room.backend.draining;
        } else {
            limit = limit.max(room.backend.max_input_tokens);
        }
    }
    if eligible.is_empty() {
        return Err(match limit {
            Some(limit) => Refusal::TooLong { estimate: arrival.prompt_tokens, limit },
            None => Refusal::NoCandidate,
        });
    }
    if drains {
        return Err(Refusal::Draining);
    }
    eligible.sort_unstable();
    eligible.dedup();
    Ok(eligible)
}

/// Whether all of them drain, so that nobody will ever take who waits for them.
pub(crate) fn draining(eligible: &[BackendId], slots: &Slots) -> bool {
    eligible.iter().all(|id| slots.room(*id).is_some_and(|room| room.backend.draining))
}

/// Whether none of them that takes new work is up.
pub(crate) fn down(eligible: &[BackendId], slots: &Slots) -> bool {
    !eligible.iter().any(|id| slots.room(*id).is_some_and(|room| room.backend.up()))
}

/// When one may hope that the first of them that are up has rested; `None` when one of them does not rest.
pub(crate) fn resting(eligible: &[BackendId], slots: &Slots) -> Option<Moment> {
    let mut soonest = None;
    for room in eligible.iter().filter_map(|id| slots.room(*id)).filter(|room| room.backend.up()) {
        let until = room.switch.hopes_until()?;
        soonest = Some(soonest.map_or(until, |soonest: Moment| soonest.min(until)));
    }
    soonest
}

fn fits(estimate: u32, backend: &Backend) -> bool {
    let needed = u64::from(estimate) * (100 + INPUT_MARGIN_PERCENT);
    backend.max_input_tokens.is_none_or(|limit| needed <= u64::from(limit) * 100)
}

fn rank(a: &Room, b: &Room) -> Ordering {
    // a.vacant / a.slots against b.vacant / b.slots, without the division; a trial counts with all its vacant
    // slots, or else it would never come while others idle
    let share = |x: &Room, y: &Room| u64::from(x.vacant()) * u64::from(y.slots());
    a.backend.priority.cmp(&b.backend.priority).then_with(|| share(a, b).cmp(&share(b, a)))
}
