//! What may be asked of the scheduler: its books, and where a ticket stands.

use std::sync::Arc;

use crate::pace::turn;
use crate::queue::Ticket;
use crate::scheduler::Scheduler;
use crate::{Arrival, BackendView, Fleet, Held, Moment, Outlook, Prefix, TicketId, View};

impl Scheduler {
    /// The books as they stand. Costs a pass over all backends and lines: for status, not for requests.
    pub fn view(&self) -> View {
        let rooms = self.slots.rooms().map(|(id, room)| {
            let view = BackendView {
                present: room.present,
                slots: if room.present { room.slots() } else { 0 },
                busy: room.busy,
                cooling: room.cooling(),
                streaming: room.streaming,
                waiting: 0,
                drained: room.present && room.backend.draining && room.empty(),
                health: room.backend.health,
                breaker: room.switch.view(self.now),
                service: room.pace.mean().unwrap_or_default(),
                others: room.others(self.now),
            };
            (id, view)
        });
        let mut view = View {
            owner: self.fleet.owner,
            waiting: self.queue.len(),
            running: self.slots.running(),
            closing: self.closing,
            retries: self.budget.left(self.now),
            backends: rooms.collect(),
        };
        for (eligible, waiting) in self.queue.lines() {
            for backend in eligible {
                if let Some(backend) = view.backends.get_mut(backend) {
                    backend.waiting += waiting;
                }
            }
        }
        view
    }

    /// How many older tickets compete with a waiting one for a backend; `None` when it does not wait.
    pub fn position(&self, ticket: TicketId) -> Option<usize> {
        let number = self.queue.number(ticket)?;
        let eligible = self.queue.eligible(number)?;
        Some(self.queue.rivals(&eligible, Some(number)))
    }

    /// Where a waiting ticket stands and how long that will take; `None` when it does not wait. Costs a pass
    /// over all lines: for those who are told so now and then.
    pub fn outlook(&self, ticket: TicketId) -> Option<Outlook> {
        let number = self.queue.number(ticket)?;
        let eligible = self.queue.eligible(number)?;
        let position = self.queue.rivals(&eligible, Some(number));
        Some(Outlook { position, expected: turn(&eligible, &self.slots, position, self.now) })
    }

    /// Uncached prompt tokens that the backend of a started ticket reads in a second for its model, as measured;
    /// `None` where nothing is.
    pub fn prefill_tps(&self, ticket: TicketId) -> Option<u32> {
        self.slots.prefill_tps(ticket)
    }

    /// What the server is thought to have of the prompt of a started ticket; `None` where that is not compared.
    pub fn prefix(&self, ticket: TicketId) -> Option<Prefix> {
        self.slots.prefix(ticket)
    }

    /// The fleet in force.
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// How many slots were weighed for requests so far.
    pub fn evaluations(&self) -> u64 {
        self.pass.evaluations()
    }

    /// Blocks of prompts that are remembered of all backends.
    pub fn records(&self) -> usize {
        self.slots.known.caches.records()
    }

    /// All tickets that wait or run.
    pub fn tickets(&self) -> impl Iterator<Item = TicketId> {
        self.queue.oldest().map(|ticket| ticket.arrival.ticket).chain(self.slots.tickets())
    }

    /// Who waits and who runs, as they arrived, and when; in order of arrival.
    pub fn arrivals(&self) -> Vec<(Arrival, Moment)> {
        let mut open: Vec<&Ticket> = self.queue.oldest().chain(self.slots.started()).collect();
        open.sort_by_key(|ticket| ticket.number);
        open.into_iter().map(|ticket| (ticket.arrival.clone(), ticket.since)).collect()
    }

    /// What runs and what cools, each with its slot.
    pub fn held(&self) -> Held {
        self.slots.held()
    }
}
