//! Which backend: who may serve a request at all, and which of those with a free slot takes it.

use std::cmp::Ordering;

use crate::queue::Ticket;
use crate::rng::draw;
use crate::room::Room;
use crate::slots::Slots;
use crate::{Backend, BackendId, CANDIDATES_MAX, Candidate, LONG_TOKENS, Moment, Policy, Refusal};

/// What an estimate of a prompt's length may fall short by: it fits where it fits with this much added.
pub const INPUT_MARGIN_PERCENT: u64 = 10;

/// The candidate to start on now, by the ticket's policy; of equals by the larger share of free slots, then by the seed.
pub(crate) fn choose(seed: u64, ticket: &Ticket, slots: &Slots) -> Option<(u16, BackendId)> {
    let arrival = &ticket.arrival;
    let reserve = reserve(ticket, slots);
    let known = long(ticket, slots, reserve);
    let mut best: Option<(u16, BackendId, &Room)> = None;
    for (index, candidate) in (0u16..).zip(arrival.candidates.iter().take(CANDIDATES_MAX)) {
        let Some(room) = slots.room(candidate.backend) else { continue };
        if candidate.reserve != reserve
            || !room.takes(candidate.model, arrival.policy)
            || slots.loads_elsewhere((candidate.backend, candidate.model), room, ticket)
            || !fits(ticket.tokens(), &room.backend)
            || ticket.tried.contains(candidate.backend)
            || known && !slots.known.recent.knows(candidate.backend, &arrival.prompt)
        {
            continue;
        }
        let better = best.is_none_or(|(_, id, other)| {
            let tie = || {
                if arrival.policy == Policy::LongWaits {
                    return id.cmp(&candidate.backend);
                }
                let draw = |backend: BackendId| draw(seed, arrival.ticket.0, u64::from(backend.0));
                draw(candidate.backend).cmp(&draw(id))
            };
            rank(arrival.policy, slots, room, other).then_with(tie) == Ordering::Greater
        });
        if better {
            best = Some((index, candidate.backend, room));
        }
    }
    best.map(|(index, backend, _)| (index, backend))
}

/// The `reserve` that is in force for a ticket: the lowest of the candidates that could take it, busy or not.
pub(crate) fn reserve(ticket: &Ticket, slots: &Slots) -> u8 {
    let candidates = ticket.arrival.candidates.iter().take(CANDIDATES_MAX);
    if candidates.clone().all(|candidate| candidate.reserve == 0) {
        return 0;
    }
    let able = |candidate: &&Candidate| {
        let room = slots.room(candidate.backend);
        room.is_some_and(|room| room.sure() && fits(ticket.tokens(), &room.backend))
            && !ticket.tried.contains(candidate.backend)
    };
    candidates.filter(able).map(|candidate| candidate.reserve).min().unwrap_or_default()
}

/// Whether a ticket goes only where its prompt is known, by `Policy::LongWaits`.
pub(crate) fn long(ticket: &Ticket, slots: &Slots, reserve: u8) -> bool {
    let arrival = &ticket.arrival;
    let may = |candidate: &&Candidate| {
        let room = slots.room(candidate.backend);
        room.is_some_and(|room| {
            fits(ticket.tokens(), &room.backend) && !ticket.tried.contains(candidate.backend)
        })
    };
    let candidates = arrival.candidates.iter().take(CANDIDATES_MAX);
    let mut candidates = candidates.filter(|candidate| candidate.reserve == reserve).filter(may);
    arrival.policy == Policy::LongWaits
        && ticket.tokens() >= LONG_TOKENS
        && candidates.any(|candidate| slots.known.recent.knows(candidate.backend, &arrival.prompt))
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
        if fits(ticket.tokens(), &room.backend) {
            eligible.push(candidate.backend);
            drains &= room.backend.draining;
        } else {
            limit = limit.max(room.backend.max_input_tokens);
        }
    }
    if eligible.is_empty() {
        return Err(match limit {
            Some(limit) => Refusal::TooLong { estimate: ticket.tokens(), limit },
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

pub(crate) fn fits(estimate: u32, backend: &Backend) -> bool {
    let needed = u64::from(estimate) * (100 + INPUT_MARGIN_PERCENT);
    backend.max_input_tokens.is_none_or(|limit| needed <= u64::from(limit) * 100)
}

fn rank(policy: Policy, slots: &Slots, a: &Room, b: &Room) -> Ordering {
    // a.vacant / a.slots against b.vacant / b.slots, without the division; a trial counts with all its vacant
    // slots, or else it would never come while others idle
    let share = |x: &Room, y: &Room| u64::from(x.vacant()) * u64::from(y.slots());
    let tokens = |room: &Room| {
        let runs = room.runs.iter().filter_map(|ticket| slots.run(*ticket));
        runs.map(|run| u64::from(run.ticket.tokens())).sum::<u64>()
    };
    let first = match policy {
        Policy::RoundRobin => b.turn.cmp(&a.turn),
        Policy::LeastBusy => Ordering::Equal,
        Policy::LowestLatency => b.first_token.total_cmp(&a.first_token),
        Policy::TokenAware => tokens(b).cmp(&tokens(a)),
        Policy::Priority | Policy::Weighted | Policy::LongWaits | Policy::CacheAffine => {
            a.backend.priority.cmp(&b.backend.priority)
        }
    };
    match policy {
        Policy::LongWaits => first,
        _ => first.then_with(|| share(a, b).cmp(&share(b, a))),
    }
}
