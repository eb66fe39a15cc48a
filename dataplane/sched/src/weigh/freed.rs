//! Whether a request would take a slot of a backend that comes free, and which it would take were all free.

use super::{Now, Weigher, better, candidates, near};
use crate::queue::Ticket;
use crate::timeline::Timeline;
use crate::{BackendId, Span};

impl Weigher<'_> {
    /// Where a request would start if each of its candidates that is up had a slot free: the best, and those that it would
    /// not wait to avoid, best first. None that is kept for a conversation.
    pub(crate) fn choices(&mut self, ticket: &Ticket) -> Vec<BackendId> {
        let mut all: Vec<Now> = Vec::new();
        for (index, candidate, room) in candidates(ticket, self.slots).filter(|(.., room)| room.sure()) {
            let place = (candidate.backend, candidate.model);
            all.extend(self.now(ticket, (index, false), place, room, None));
        }
        let best = all
            .iter()
            .copied()
            .reduce(|best, one| if better(&one, &best, (ticket, self.slots)) { one } else { best });
        let Some(best) = best else { return Vec::new() };
        let least = best.cost - best.favour;
        let margin = |one: &Now| (self.tuning.wait_margin * one.cost).max(near(one.cost, best.cost));
        all.retain(|one| one.cost - one.favour - least <= margin(one));
        all.sort_by(|one, other| (one.cost - one.favour).total_cmp(&(other.cost - other.favour)));
        let others = all.iter().map(|one| one.backend).filter(|backend| *backend != best.backend);
        std::iter::once(best.backend).chain(others).collect()
    }

    /// Whether a request would take a slot of that backend if one came free now. Where it would rather wait for a busy one,
    /// that one is reserved for it.
    pub(crate) fn takes_freed(
        &mut self,
        ticket: &Ticket,
        backend: BackendId,
        timeline: &mut Timeline,
    ) -> bool {
        if self.now.since(ticket.since) >= self.tuning.age_max {
            return true;
        }
        let (mut here, mut elsewhere) = (None, None);
        for (index, candidate, room) in candidates(ticket, self.slots).filter(|(.., room)| !room.empty()) {
            let place = (candidate.backend, candidate.model);
            let later = self.later(ticket, (index, f64::INFINITY), place, room, timeline);
            match later {
                Some(later) if candidate.backend == backend => here = Some(later),
                Some(later) => {
                    let least = elsewhere.map_or(f64::INFINITY, |best: super::Later| best.cost - best.favour);
                    elsewhere = (later.cost - later.favour < least).then_some(later).or(elsewhere);
                }
                None => {}
            }
        }
        let (Some(here), Some(later)) = (here, elsewhere) else { return true };
        let cost = here.cost - here.wait;
        if cost * (1.0 - self.tuning.wait_margin) <= later.cost {
            return true;
        }
        let saves = (cost - (later.cost - later.wait)).max(0.0);
        let (since, first) = ticket.declined.unwrap_or((self.now, saves));
        let worth = Span::of_secs(self.tuning.wait_budget * saves.max(first)).min(self.tuning.wait_max);
        if self.now.since(since) >= worth {
            return true;
        }
        let answer = self.slots.known.answers.expected(ticket.like());
        timeline.reserve(&later, ticket, answer);
        false
    }
}
