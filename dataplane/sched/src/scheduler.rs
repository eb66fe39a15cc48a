//! The scheduler: takes each event to the parts it concerns and starts whoever may start afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::choose::{choose, down, draining, eligible, named};
use crate::queue::{Number, Queue};
use crate::slots::Slots;
use crate::{
    Arrival, BackendId, BackendView, Decision, Event, Fleet, Moment, Outcome, Refusal, Span, TicketId, View,
};

/// The scheduling core. The same seed and events give the same decisions.
pub struct Scheduler {
    seed: u64,
    now: Moment,
    fleet: Arc<Fleet>,
    slots: Slots,
    queue: Queue,
}

impl Scheduler {
    /// A scheduler with nothing waiting and nothing running; `seed` breaks ties between equal backends.
    pub fn new(seed: u64, fleet: Arc<Fleet>) -> Self {
        let mut slots = Slots::default();
        slots.adopt(&fleet);
        Scheduler { seed, now: Moment::default(), fleet, slots, queue: Queue::default() }
    }

    /// Takes in one event and appends what is to be done about it, in order. Every ticket that arrives is
    /// started or refused exactly once, unless it is cancelled before. Deadlines come first, then the event,
    /// then starts. A `now` that lies before an earlier one counts as that one.
    pub fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>) {
        self.now = self.now.max(now);
        while let Some(expired) = self.queue.expire(self.now) {
            let why = Refusal::Deadline { waited: self.now.since(expired.since) };
            out.push(Decision::Refuse { ticket: expired.arrival.ticket, why });
        }
        let mut freed = self.slots.cooled(self.now);
        match event {
            Event::Arrive(arrival) => {
                self.fill(std::mem::take(&mut freed), out);
                self.arrive(arrival, out);
            }
            Event::FirstToken { ticket } => self.slots.first_token(ticket),
            // what it cost is for estimates, which this core does not make
            Event::Finish { ticket, outcome, usage: _ } => {
                freed.extend(self.slots.finish(ticket, outcome, self.now));
            }
            Event::Cancel { ticket } => match self.queue.number(ticket) {
                Some(number) => drop(self.queue.take(number)),
                None => freed.extend(self.slots.finish(ticket, Outcome::Unsent, self.now)),
            },
            Event::Observe { backend, idle } => {
                if idle && self.slots.idle(backend) {
                    freed.insert(backend);
                }
            }
            Event::Adopt(fleet) => {
                self.adopt(fleet, out);
                freed.extend(self.fleet.backends.keys().copied());
            }
            Event::Wake => {}
        }
        self.fill(freed, out);
    }

    /// When `handle` wants to be called if nothing else happens before: a deadline or the end of a grace.
    pub fn next_wake(&self) -> Option<Moment> {
        let due = [self.queue.next_deadline(), self.slots.next_cooled()].into_iter().flatten().min();
        due.filter(|moment| *moment < Moment::NEVER)
    }

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
            };
            (id, view)
        });
        let mut view = View {
            owner: self.fleet.owner,
            waiting: self.queue.len(),
            running: self.slots.running(),
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
        self.queue.ahead(ticket)
    }

    fn arrive(&mut self, arrival: Arrival, out: &mut Vec<Decision>) {
        let ticket = arrival.ticket;
        if self.queue.number(ticket).is_some() || self.slots.runs(ticket) {
            return;
        }
        if let Err(why) = self.admit(arrival, out) {
            out.push(Decision::Refuse { ticket, why });
        }
    }

    fn admit(&mut self, arrival: Arrival, out: &mut Vec<Decision>) -> Result<(), Refusal> {
        if !self.fleet.owner {
            return Err(Refusal::Spare);
        }
        if let Some((candidate, backend)) = choose(self.seed, &arrival, &self.slots) {
            self.start(arrival.ticket, candidate, backend, out);
            return Ok(());
        }
        let eligible = eligible(&arrival, &self.slots)?;
        if down(&eligible, &self.slots) {
            return Err(Refusal::Unhealthy);
        }
        if arrival.deadline <= self.now {
            return Err(Refusal::Deadline { waited: Span::ZERO });
        }
        if self.queue.len() >= self.fleet.queue_max {
            return Err(Refusal::QueueFull { waiting: self.queue.len() });
        }
        self.queue.push(arrival, self.now, &eligible);
        Ok(())
    }

    fn adopt(&mut self, fleet: Arc<Fleet>, out: &mut Vec<Decision>) {
        self.fleet = fleet;
        let change = self.slots.adopt(&self.fleet);
        if !self.fleet.owner {
            for number in self.queue.numbers() {
                self.refuse(number, Refusal::Spare, out);
            }
        } else if change.eligibility {
            for (number, why) in self.queue.regroup(|arrival| eligible(arrival, &self.slots)) {
                self.refuse(number, why, out);
            }
        } else if change.draining {
            for number in self.queue.stranded(|eligible| draining(eligible, &self.slots)) {
                self.refuse(number, Refusal::Draining, out);
            }
        }
    }

    /// Starts the oldest who may, again and again, until the freed backends are full or nobody waits for them.
    fn fill(&mut self, freed: BTreeSet<BackendId>, out: &mut Vec<Decision>) {
        let mut heads: BTreeSet<(Option<Number>, BackendId)> =
            freed.into_iter().map(|id| (None, id)).collect();
        while let Some((seen, backend)) = heads.pop_first() {
            if self.slots.free(backend) == 0 {
                continue;
            }
            let Some(head) = self.queue.oldest(backend) else { continue };
            if seen == Some(head) {
                // a backend that was not freed just now is full for all who wait
                let best = self.queue.arrival(head).and_then(|arrival| match heads.is_empty() {
                    true => named(arrival, backend),
                    false => choose(self.seed, arrival, &self.slots),
                });
                let Some((candidate, backend)) = best else { continue };
                if let Some(waiting) = self.queue.take(head) {
                    self.start(waiting.arrival.ticket, candidate, backend, out);
                }
            }
            heads.insert((Some(head), backend));
        }
    }

    fn start(&mut self, ticket: TicketId, candidate: u16, backend: BackendId, out: &mut Vec<Decision>) {
        let slot = self.slots.start(ticket, backend);
        out.push(Decision::Start { ticket, candidate, backend, slot });
    }

    fn refuse(&mut self, number: Number, why: Refusal, out: &mut Vec<Decision>) {
        if let Some(waiting) = self.queue.take(number) {
            out.push(Decision::Refuse { ticket: waiting.arrival.ticket, why });
        }
    }
}
