//! The scheduling core of the product as the order of a fleet, with a fleet that knows what the lead tells of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::lead::{Order, Verdict};
use sched::permit::{Ticket, Wants};
use sched::{
    Backend, BackendId, Cache, Digest, Event, Fault, Fleet, Health, Moment, Outcome, Scheduler, Span,
    TicketId, Tuning, Usage,
};

use crate::world::Known;

/// The scheduler, which learns of a backend when the lead first tells of its slots.
pub struct Core {
    scheduler: Scheduler,
    fleet: Fleet,
}

impl Core {
    /// A scheduler that serves in order of arrival where nothing else speaks for one or the other.
    pub fn new() -> Self {
        let tuning = Tuning { fair_quantum: None, ..Tuning::default() };
        let fleet = Fleet { owner: true, queue_max: 65_536, tuning, backends: BTreeMap::new() };
        let mut scheduler = Scheduler::new(1, Arc::new(fleet.clone()));
        scheduler.share(Moment::default(), true);
        Core { scheduler, fleet }
    }

    /// A backend of as many slots as the lead said.
    fn adopt(&mut self, now: Moment, backend: BackendId) {
        let new = Backend {
            slots: 1,
            priority: 0,
            max_input_tokens: None,
            health: Health::Healthy,
            draining: false,
            release_grace: Span::from_millis(250),
            cache: Cache::Pool { tokens: 100_000 },
            models_max: None,
            resident: Arc::from([]),
            lot: 0,
        };
        self.fleet.backends.insert(backend, new);
        let mut decided = Vec::new();
        self.scheduler.handle(now, Event::Adopt(Arc::new(self.fleet.clone())), &mut decided);
        assert_eq!(decided, [], "nobody waits for what was not there");
    }
}

impl Default for Core {
    fn default() -> Self {
        Core::new()
    }
}

impl Known for Core {
    fn tickets(&self) -> Vec<TicketId> {
        let mut tickets: Vec<TicketId> = self.scheduler.tickets().collect();
        tickets.sort_unstable();
        tickets
    }
}

impl Order for Core {
    fn arrive(&mut self, now: Moment, number: TicketId, since: Moment, ticket: &Ticket) {
        self.scheduler.arrive(now, number, since, ticket);
    }

    fn began(&mut self, now: Moment, number: TicketId, backend: BackendId, wants: Option<&Arc<Wants>>) {
        Order::began(&mut self.scheduler, now, number, backend, wants);
    }

    fn back(&mut self, now: Moment, number: TicketId) {
        Order::back(&mut self.scheduler, now, number);
    }

    fn first_token(&mut self, now: Moment, number: TicketId) {
        self.scheduler.first_token(now, number);
    }

    fn finish(&mut self, now: Moment, number: TicketId, outcome: Outcome, usage: Usage) {
        self.scheduler.finish(now, number, outcome, usage);
    }

    fn fail(&mut self, now: Moment, number: TicketId, _: Fault, sent: bool) {
        // its servers fail at random and are well: no breaker is to rest for them
        self.scheduler.fail(now, number, Fault::Slow, sent);
    }

    fn cancel(&mut self, now: Moment, number: TicketId) {
        self.scheduler.cancel(now, number);
    }

    fn slots(&mut self, now: Moment, backend: BackendId, slots: u32) {
        if !self.fleet.backends.contains_key(&backend) {
            self.adopt(now, backend);
        }
        self.scheduler.slots(now, backend, slots);
    }

    fn decide(&mut self, now: Moment, out: &mut Vec<Verdict>) {
        self.scheduler.decide(now, out);
    }

    fn digest(&mut self) -> Option<Digest> {
        Order::digest(&mut self.scheduler)
    }

    fn front(&self, backend: BackendId, most: usize) -> Vec<TicketId> {
        self.scheduler.front(backend, most)
    }

    fn contended(&self, backend: BackendId) -> bool {
        self.scheduler.contended(backend)
    }

    fn next_wake(&self) -> Option<Moment> {
        Order::next_wake(&self.scheduler)
    }
}
