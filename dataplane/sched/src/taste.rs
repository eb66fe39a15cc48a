//! What a data plane that does not lead asks its own scheduler: where it may start without asking the lead, and what is
//! known of a place where the lead starts.

use crate::choose::{fits, reserve};
use crate::explain::Notes;
use crate::permit::Wants;
use crate::queue::{Number, Ticket};
use crate::scheduler::Scheduler;
use crate::weigh::Weigher;
use crate::{BackendId, CANDIDATES_MAX, Candidate, Moment, Policy, Prefix, TicketId};

impl Scheduler {
    /// Where a request may start on a parked permit without asking, best first: where it would go if all candidates had a
    /// slot free. By `Policy::CacheAffine` that is the place where its first token comes soonest, and those it would not
    /// wait to avoid; by `Policy::Priority` and `Policy::Weighted` those of the highest priority. The other rules go by what
    /// all data planes do: nothing starts unasked, unless there is one place to go. Weighs each candidate once.
    ///
    /// Where there is a lead to ask (`led`), a conversation whose turn before is known at none of its places asks it: that
    /// turn ran through another data plane, and starting cold costs more than asking.
    pub fn unasked(&mut self, now: Moment, wants: &Wants, led: bool) -> Vec<BackendId> {
        self.now = self.now.max(now);
        let now = self.now;
        self.recollect(&wants.prompt);
        let ticket = Ticket::new(wants.arrival(TicketId(0), Moment::NEVER), now, Number::default());
        let reserve = reserve(&ticket, &self.slots);
        let candidates = wants.candidates.iter().take(CANDIDATES_MAX);
        let usable = candidates.filter(|candidate| candidate.reserve == reserve).filter_map(|candidate| {
            let room = self.slots.room(candidate.backend)?;
            let may = room.sure() && fits(ticket.tokens(), &room.backend) && !room.loads(candidate.model);
            may.then_some((candidate.backend, room.backend.priority))
        });
        let usable: Vec<(BackendId, i32)> = usable.collect();
        match wants.policy {
            _ if usable.len() == 1 && wants.candidates.len() == 1 => vec![usable[0].0],
            Policy::CacheAffine if led && self.elsewhere(wants) => Vec::new(),
            Policy::CacheAffine => {
                let mut choices = self.choices(now, &ticket);
                choices.retain(|choice| usable.iter().any(|(backend, _)| backend == choice));
                choices
            }
            Policy::Priority | Policy::Weighted => {
                let most = usable.iter().map(|(_, priority)| *priority).max();
                let first = usable.iter().filter(|(_, priority)| Some(*priority) == most);
                first.map(|(backend, _)| *backend).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What is known of a place where a request starts: how many uncached tokens are read there in a second, where
    /// measured, and what of the prompt is thought to be cached, where that is compared.
    pub fn taste(&self, wants: &Wants, backend: BackendId) -> (Option<u32>, Option<Prefix>) {
        let candidates = wants.candidates.iter().take(CANDIDATES_MAX);
        let Some(candidate) = candidates.clone().find(|candidate| candidate.backend == backend) else {
            return (None, None);
        };
        let known = &self.slots.known;
        let place = (backend, candidate.model);
        let tokens = wants.prompt_tokens.max(wants.prompt.tokens());
        let loads = self.slots.room(backend).is_some_and(|room| room.loads(candidate.model));
        let warm = known
            .caches
            .mirror(place)
            .filter(|_| !loads)
            .and_then(|mirror| mirror.peek(&wants.prompt, tokens));
        let cached = warm.map_or(0, |warm| warm.cached).min(tokens.saturating_sub(1));
        let prefix = (wants.prompt.len() > 0).then_some(Prefix { cached, prompt: tokens });
        (known.speeds.prefill_tps(place), prefix)
    }

    /// Whether a prompt goes on from an answer, and no place is known to have what lies before that.
    fn elsewhere(&self, wants: &Wants) -> bool {
        let before = wants.prompt.tokens_of(wants.prompt.turn());
        let tokens = wants.prompt_tokens.max(wants.prompt.tokens());
        let cached = |candidate: &Candidate| {
            let mirror = self.slots.known.caches.mirror((candidate.backend, candidate.model));
            mirror.and_then(|mirror| mirror.peek(&wants.prompt, tokens)).map_or(0, |warm| warm.cached)
        };
        let mut candidates = wants.candidates.iter().take(CANDIDATES_MAX);
        before > 0 && !candidates.any(|candidate| cached(candidate) >= before)
    }

    fn choices(&self, now: Moment, ticket: &Ticket) -> Vec<BackendId> {
        let (mut evaluations, mut lost, mut notes) = (0, Vec::new(), Notes::default());
        let mut weigher = Weigher {
            slots: &self.slots,
            tuning: &self.fleet.tuning,
            now,
            evaluations: &mut evaluations,
            lost: &mut lost,
            notes: &mut notes,
        };
        weigher.choices(ticket)
    }
}
