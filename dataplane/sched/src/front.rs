//! Who would be next at a backend, for those who end requests there and do not want to wait for the word of a lead.

use std::collections::BTreeSet;

use crate::choose::{fits, long, reserve};
use crate::explain::Notes;
use crate::queue::{Kind, Number, Ticket};
use crate::room::Room;
use crate::scheduler::Scheduler;
use crate::timeline::Timeline;
use crate::weigh::Weigher;
use crate::{BackendId, Policy, TicketId};

/// How many of those who wait are weighed at most to find the next.
const WEIGHED_MAX: usize = 4;

impl Scheduler {
    /// Who would be started if slots of a backend came free one by one, in order, at most `most` and `WINDOW`. The first is
    /// weighed as it would be then; those behind it come in the order in which they would be looked at. Empty where it
    /// cannot be told. Looks at all kinds that wait and weighs `WEIGHED_MAX` tickets at most, each for all its candidates.
    pub(crate) fn next_at(&self, backend: BackendId, most: usize) -> Vec<TicketId> {
        let able = self.slots.room(backend).is_some_and(Room::sure);
        if self.queue.len() == 0 || !able {
            return Vec::new();
        }
        let mut window: Vec<Number> = Vec::new();
        self.line_up(|kind| self.comes_to(backend, kind), &mut window);
        let waiting = window.iter().filter_map(|number| self.queue.ticket(*number));
        let mut waiting: Vec<&Ticket> = waiting.filter(|ticket| self.fits_at(backend, ticket)).collect();
        let Some(first) = self.first_at(backend, &waiting) else { return Vec::new() };
        waiting.drain(..first);
        waiting.iter().take(most).map(|ticket| ticket.arrival.ticket).collect()
    }

    /// Whether somebody waits for a backend, or it is not to be used before it has rested or was tried.
    pub(crate) fn wanted(&self, backend: BackendId) -> bool {
        let wary = self.slots.room(backend).is_some_and(|room| room.backend.up() && !room.sure());
        let waits = |(eligible, waiting): (&[BackendId], usize)| {
            waiting > 0 && eligible.binary_search(&backend).is_ok()
        };
        wary || self.queue.lines().any(waits)
    }

    /// Which of those who may is the first that would not rather wait for another slot.
    fn first_at(&self, backend: BackendId, waiting: &[&Ticket]) -> Option<usize> {
        let (mut evaluations, mut lost, mut notes) = (0, Vec::new(), Notes::default());
        let mut weigher = Weigher {
            slots: &self.slots,
            tuning: &self.fleet.tuning,
            now: self.now,
            evaluations: &mut evaluations,
            lost: &mut lost,
            notes: &mut notes,
        };
        let mut timeline: Option<Timeline> = None;
        waiting.iter().take(WEIGHED_MAX).position(|ticket| {
            if ticket.arrival.policy != Policy::CacheAffine || ticket.arrival.candidates.len() == 1 {
                return true;
            }
            let timeline = timeline.get_or_insert_with(|| {
                let mut timeline = Timeline::default();
                timeline.clear(self.queue.backlog(&BTreeSet::from([backend])));
                timeline
            });
            weigher.takes_freed(ticket, backend, timeline)
        })
    }

    /// Whether requests of a kind go to a backend, as far as reserves and memory are concerned.
    fn comes_to(&self, backend: BackendId, kind: &Kind) -> bool {
        let (Some(room), Some(model)) = (self.slots.room(backend), kind.model(backend)) else { return false };
        let reserve = kind.reserve(|other| self.slots.room(other).is_some_and(Room::sure));
        kind.of(reserve).any(|other| other == backend) && room.holds(model, kind.policy)
    }

    fn fits_at(&self, backend: BackendId, ticket: &Ticket) -> bool {
        let Some(room) = self.slots.room(backend) else { return false };
        let known = || {
            !long(ticket, &self.slots, reserve(ticket, &self.slots))
                || self.slots.known.recent.knows(backend, &ticket.arrival.prompt)
        };
        fits(ticket.tokens(), &room.backend) && !ticket.tried.contains(backend) && known()
    }
}
