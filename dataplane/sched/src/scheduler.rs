//! The scheduler: takes each event to the parts it concerns and starts whoever may start afterwards.

use std::sync::Arc;

use crate::choose::{down, draining, eligible, resting};
use crate::explain::Story;
use crate::pace::turn;
use crate::place::{Pass, Place};
use crate::queue::{Number, Queue, Ticket};
use crate::retry::Budget;
use crate::share::Desk;
use crate::slots::{Failed, Slots};
use crate::{
    Arrival, BREAKER_WAIT_MAX, BackendId, Candidate, Decision, Event, Fault, Fleet, Moment, Outcome,
    RETRY_AFTER_MAX, RETRY_AFTER_MIN, Refusal, Span, TRIES_MAX, TicketId, UNREACHED_WAIT_MAX, Usage,
};

/// Other candidates for a ticket.
type Offer = (TicketId, Box<[Candidate]>);

/// The scheduling core. The same seed and events give the same decisions.
pub struct Scheduler {
    pub(crate) seed: u64,
    pub(crate) now: Moment,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) slots: Slots,
    pub(crate) queue: Queue,
    pub(crate) budget: Budget,
    pub(crate) closing: bool,
    pub(crate) pass: Pass,
    /// Of those who were refused by the latest event.
    pub(crate) refused: Vec<(TicketId, Box<Story>)>,
    pub(crate) desk: Desk,
}

/// What is to become of a ticket.
pub(crate) enum Next {
    Start(Place),
    /// For these.
    Wait(Vec<BackendId>),
}

impl Scheduler {
    /// A scheduler with nothing waiting and nothing running; `seed` breaks ties between equal backends.
    pub fn new(seed: u64, fleet: Arc<Fleet>) -> Self {
        let mut slots = Slots::new(seed);
        slots.adopt(&fleet, Moment::default());
        Scheduler {
            seed,
            now: Moment::default(),
            fleet,
            slots,
            queue: Queue::default(),
            budget: Budget::new(),
            closing: false,
            pass: Pass::default(),
            refused: Vec::new(),
            desk: Desk::default(),
        }
    }

    /// Takes in one event and appends what is to be done about it, in order. Every ticket that arrives is
    /// started or refused exactly once, unless it is cancelled before; so is one that failed. Deadlines come first, then the event,
    /// then starts. A `now` that lies before an earlier one counts as that one.
    pub fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>) {
        self.now = self.now.max(now);
        self.refused.clear();
        self.expire(out);
        let mut freed = self.slots.change(self.now);
        match event {
            Event::Arrive(arrival) => {
                self.fill(std::mem::take(&mut freed), out);
                self.arrive(arrival, self.now, &[], out);
            }
            Event::Waited { arrival, since, tried } => {
                self.fill(std::mem::take(&mut freed), out);
                self.arrive(*arrival, since.min(self.now), &tried, out);
            }
            Event::Began { ticket, backend, arrival } => freed.extend(self.began(ticket, backend, arrival)),
            Event::Back { ticket } => {
                self.pass.spare(freed);
                return self.back(ticket, out);
            }
            Event::Slots { backend, slots } => {
                self.slots.give(backend, slots);
                freed.insert(backend);
            }
            Event::Learn(digest) => self.take_in(&digest),
            Event::Share(shared) => self.slots.share(shared),
            Event::Recall => {
                freed.clear();
                self.forget();
            }
            Event::FirstToken { ticket } => freed.extend(self.slots.first_token(ticket, self.now)),
            Event::Fail { ticket, fault, sent } => {
                // time gives first; what nobody wanted before is looked at once all is known
                if !freed.is_empty() || self.pass.next_wake().is_some_and(|wake| wake <= self.now) {
                    self.fill(std::mem::take(&mut freed), out);
                }
                freed.extend(self.fail(ticket, fault, sent, out));
            }
            Event::Finish { ticket, outcome, usage } => {
                self.look_ahead(ticket);
                freed.extend(self.slots.finish(ticket, outcome, usage, self.now));
            }
            Event::Cancel { ticket } => match self.queue.number(ticket) {
                Some(number) => drop(self.queue.take(number)),
                None => freed.extend(self.slots.finish(ticket, Outcome::Unsent, Usage::default(), self.now)),
            },
            Event::Observe { backend, idle } => {
                if idle && self.slots.idle(backend) {
                    freed.insert(backend);
                }
            }
            Event::Told { backend, requests, age } => self.slots.told(backend, requests, age, self.now),
            Event::Adopt(fleet) => freed.extend(self.adopt(fleet, Vec::new(), out)),
            Event::Reroute { fleet, offers } => freed.extend(self.adopt(fleet, offers, out)),
            Event::Close => self.close(out),
            Event::Wake => {}
        }
        self.fill(freed, out);
    }

    /// When `handle` wants to be called if nothing else happens before: a deadline or the end of a grace or rest.
    pub fn next_wake(&self) -> Option<Moment> {
        let due = [self.queue.next_deadline(), self.slots.next_change(), self.pass.next_wake()]
            .into_iter()
            .flatten()
            .min();
        due.filter(|moment| *moment < Moment::NEVER)
    }

    fn expire(&mut self, out: &mut Vec<Decision>) {
        while let Some((mut ticket, eligible)) = self.queue.expire(self.now) {
            let why = self.late(&ticket, &eligible);
            self.turn_away(&mut ticket, why, out);
        }
    }

    fn arrive(&mut self, arrival: Arrival, since: Moment, tried: &[BackendId], out: &mut Vec<Decision>) {
        let id = arrival.ticket;
        if self.queue.number(id).is_some() || self.slots.runs(id) {
            return;
        }
        let mut ticket = self.newcomer(arrival, since);
        tried.iter().for_each(|backend| ticket.tried.push(*backend));
        let next = self.admit(&mut ticket);
        self.go_on(ticket, next, out);
    }

    /// A ticket for one that came then.
    pub(crate) fn newcomer(&mut self, arrival: Arrival, since: Moment) -> Box<Ticket> {
        let key = arrival.key;
        if !self.queue.waits(key) {
            self.slots.fair.join(key, self.queue.keys(), self.now);
        }
        self.slots.known.returns.arrived(&arrival.prompt, self.now);
        self.recollect(&arrival.prompt);
        self.queue.draw(arrival, since)
    }

    /// Does what was found to be done about a ticket that neither waits nor runs.
    pub(crate) fn go_on(
        &mut self,
        mut ticket: Box<Ticket>,
        next: Result<Next, Refusal>,
        out: &mut Vec<Decision>,
    ) {
        match next {
            Ok(Next::Start(place)) => self.start(ticket, &place, out),
            Ok(Next::Wait(eligible)) => {
                self.spare(&eligible);
                self.queue.push(ticket, &eligible);
            }
            Err(why) => self.turn_away(&mut ticket, why, out),
        }
    }

    fn admit(&mut self, ticket: &mut Ticket) -> Result<Next, Refusal> {
        self.open(ticket)?;
        let full = self.queue.len() >= self.fleet.queue_max;
        if (full || !self.joins(ticket))
            && let Some(place) = self.place_last(ticket, full)
        {
            return Ok(Next::Start(place));
        }
        let eligible = eligible(ticket, &self.slots)?;
        if down(&eligible, &self.slots) {
            return Err(Refusal::Unhealthy);
        }
        let deadline = ticket.arrival.deadline;
        if deadline <= self.now {
            return Err(self.late(ticket, &eligible));
        }
        if self.rests(&eligible, deadline) {
            return Err(Refusal::Resting { retry_after: self.retry_after(&eligible) });
        }
        let waiting = self.queue.len();
        if waiting >= self.fleet.queue_max {
            return Err(Refusal::QueueFull { waiting, retry_after: self.retry_after(&eligible) });
        }
        Ok(Next::Wait(eligible))
    }

    fn fail(&mut self, id: TicketId, fault: Fault, sent: bool, out: &mut Vec<Decision>) -> Option<BackendId> {
        let Some(failed) = self.slots.fail(id, fault, sent, self.now) else {
            return self.part(id, out);
        };
        let Failed { mut ticket, backend, streamed, unreached } = failed;
        let next = self.again(&mut ticket, streamed, unreached);
        self.go_on(ticket, next, out);
        Some(backend)
    }

    /// Tries a request elsewhere, now or when it is its turn there.
    fn again(&mut self, ticket: &mut Ticket, streamed: bool, unreached: bool) -> Result<Next, Refusal> {
        ticket.declined = None;
        self.stale();
        self.open(ticket)?;
        let tried = ticket.tried.len();
        let exhausted = Refusal::Exhausted { tried, budget: false };
        if streamed || tried >= TRIES_MAX {
            return Err(exhausted);
        }
        if let Some(place) = self.place_last(ticket, false) {
            self.spend(tried, unreached)?;
            return Ok(Next::Start(place));
        }
        // Who reached nobody yet hears what a newcomer would.
        let or = |why: Refusal| if tried == 0 { why } else { exhausted };
        let eligible = eligible(ticket, &self.slots).map_err(or)?;
        let down = down(&eligible, &self.slots);
        if down && !unreached {
            return Err(exhausted);
        }
        if let Some(first) = ticket.unreached.filter(|_| unreached)
            && (down || resting(&eligible, &self.slots).is_some())
        {
            ticket.arrival.deadline = ticket.arrival.deadline.min(first + UNREACHED_WAIT_MAX);
        }
        let deadline = ticket.arrival.deadline;
        if deadline <= self.now {
            return Err(self.late(ticket, &eligible));
        }
        if self.rests(&eligible, deadline) {
            return Err(or(Refusal::Resting { retry_after: self.retry_after(&eligible) }));
        }
        self.spend(tried, unreached)?;
        Ok(Next::Wait(eligible))
    }

    /// Pays for a retry; a request that reached nobody puts no load on anyone.
    fn spend(&mut self, tried: usize, unreached: bool) -> Result<(), Refusal> {
        let paid = unreached || self.budget.spend(self.now);
        if paid { Ok(()) } else { Err(Refusal::Exhausted { tried, budget: true }) }
    }

    /// Whether this scheduler starts anything at all.
    pub(crate) fn open(&self, ticket: &Ticket) -> Result<(), Refusal> {
        if self.closing {
            let eligible = eligible(ticket, &self.slots).unwrap_or_default();
            return Err(Refusal::Closing { retry_after: self.retry_after(&eligible) });
        }
        if self.fleet.owner { Ok(()) } else { Err(Refusal::Spare) }
    }

    fn close(&mut self, out: &mut Vec<Decision>) {
        self.closing = true;
        // all are told what the queue looked like with all of them
        let waits = self.queue.numbers().into_iter().map(|number| {
            let eligible = self.queue.eligible(number).unwrap_or_default();
            (number, self.retry_after(&eligible))
        });
        for (number, retry_after) in waits.collect::<Vec<_>>() {
            self.refuse(number, Refusal::Closing { retry_after }, out);
        }
    }

    fn late(&self, ticket: &Ticket, eligible: &[BackendId]) -> Refusal {
        Refusal::Deadline { waited: self.now.since(ticket.since), retry_after: self.retry_after(eligible) }
    }

    /// Whether all of them rest for longer than one may wait for.
    fn rests(&self, eligible: &[BackendId], deadline: Moment) -> bool {
        resting(eligible, &self.slots)
            .is_some_and(|until| until > self.now + BREAKER_WAIT_MAX || until >= deadline)
    }

    fn retry_after(&self, eligible: &[BackendId]) -> Span {
        let ahead = self.queue.rivals(eligible, None);
        turn(eligible, &self.slots, ahead, self.now).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
    }

    /// The answer is where somebody may start now.
    fn adopt(&mut self, fleet: Arc<Fleet>, offers: Vec<Offer>, out: &mut Vec<Decision>) -> Vec<BackendId> {
        self.fleet = fleet;
        let mut moved = false;
        for (ticket, candidates) in offers {
            match self.queue.number(ticket) {
                Some(number) => moved |= self.queue.offer(number, candidates),
                None => self.slots.offer(ticket, candidates),
            }
        }
        let change = self.slots.adopt(&self.fleet, self.now);
        if !self.fleet.owner {
            for number in self.queue.numbers() {
                self.refuse(number, Refusal::Spare, out);
            }
        } else if change.eligibility || moved {
            for (number, why) in self.queue.regroup(|ticket| eligible(ticket, &self.slots)) {
                self.refuse(number, why, out);
            }
        } else if change.draining {
            for number in self.queue.stranded(|eligible| draining(eligible, &self.slots)) {
                self.refuse(number, Refusal::Draining, out);
            }
        }
        self.fleet.backends.keys().copied().collect()
    }

    pub(crate) fn start(&mut self, ticket: Box<Ticket>, place: &Place, out: &mut Vec<Decision>) {
        if ticket.tried.len() == 0 && ticket.unreached.is_none() {
            self.budget.earn();
        }
        let id = ticket.arrival.ticket;
        let Place { candidate, backend, .. } = *place;
        let slot = self.slots.start(ticket, place, self.now);
        out.push(Decision::Start { ticket: id, candidate, backend, slot });
    }

    fn refuse(&mut self, number: Number, why: Refusal, out: &mut Vec<Decision>) {
        let Some(mut ticket) = self.queue.take(number) else { return };
        let why = match (ticket.tried.len(), why) {
            (0, _) | (_, Refusal::Spare | Refusal::Closing { .. }) => why,
            // what is left of its candidates is not why it fails
            (tried, _) => Refusal::Exhausted { tried, budget: false },
        };
        self.turn_away(&mut ticket, why, out);
    }

    pub(crate) fn turn_away(&mut self, ticket: &mut Ticket, why: Refusal, out: &mut Vec<Decision>) {
        let id = ticket.arrival.ticket;
        self.refused.extend(ticket.story.take().map(|story| (id, story)));
        out.push(Decision::Refuse { ticket: id, why });
    }
}
