//! Requests of other data planes: what began without being asked for, what comes back, and the scheduler as the order of
//! a lead.

use std::sync::Arc;

use crate::choose::eligible;
use crate::lead::{Order, Verdict};
use crate::permit::{Ticket, Wants};
use crate::place::Place;
use crate::queue;
use crate::scheduler::{Next, Scheduler};
use crate::{
    Arrival, BackendId, CANDIDATES_MAX, Decision, Digest, Event, Fault, Held, Moment, Outcome, Refusal,
    TicketId, Usage,
};

/// An event that was told to the scheduler as the order of a lead, and what it said.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: Moment,
    /// What happened.
    pub event: Event,
    /// What is to be done about it.
    pub said: Vec<Decision>,
}

/// What a lead has not asked for yet.
#[derive(Default)]
pub(crate) struct Desk {
    /// At most one for each ticket.
    decided: Vec<Decision>,
    /// Somebody found no slot that should have been free: it is to be tried when the lead asks next.
    again: bool,
    /// Of the request that ended last, for those who do not lead.
    digest: Option<Digest>,
    /// Where steps are written down: those since they were taken.
    steps: Option<Vec<Step>>,
}

impl Scheduler {
    /// Forgets who waits and runs, without decisions, and how many slots take part; what was learned stays. The answer is
    /// what is held. As `Event::Recall`.
    pub fn recall(&mut self, now: Moment) -> Held {
        let held = self.held();
        self.tell(now, Event::Recall);
        held
    }

    /// Whether others wait until engines have stopped. As `Event::Share`.
    pub fn share(&mut self, now: Moment, shared: bool) {
        self.tell(now, Event::Share(shared));
    }

    /// From now on what a lead tells is written down for `take_steps`, or no longer.
    pub fn record(&mut self, on: bool) {
        self.desk.steps = on.then(Vec::new);
    }

    /// What a lead told since this was last asked: `handle` with the same gives the same.
    pub fn take_steps(&mut self) -> Vec<Step> {
        self.desk.steps.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn began(
        &mut self,
        id: TicketId,
        backend: BackendId,
        arrival: Option<Box<Arrival>>,
    ) -> Option<BackendId> {
        let before = self.slots.where_is(id);
        if before == Some(backend) {
            return None;
        }
        let known = match self.slots.back(id, self.now) {
            Some((ticket, _)) => Some(ticket),
            None => {
                self.slots.part(id);
                self.queue.number(id).and_then(|number| self.queue.take(number))
            }
        };
        let ticket = known.or_else(|| Some(self.newcomer(*arrival?, self.now)));
        let place = ticket.as_ref().and_then(|ticket| place(ticket, backend));
        match (ticket, place) {
            (Some(ticket), Some(place)) => {
                if ticket.tried.len() == 0 && ticket.unreached.is_none() {
                    self.budget.earn();
                }
                self.slots.begin(ticket, &place, self.now);
            }
            _ => self.slots.lodge(id, backend),
        }
        before
    }

    pub(crate) fn back(&mut self, id: TicketId, out: &mut Vec<Decision>) {
        let Some((mut ticket, backend)) = self.slots.back(id, self.now) else {
            let parted = self.part(id, out);
            return self.pass.spare(parted);
        };
        ticket.declined = None;
        self.pass.spare([backend]);
        let next = self.open(&ticket).and_then(|()| eligible(&ticket, &self.slots)).map(Next::Wait);
        self.go_on(ticket, next, out);
    }

    /// Ends one of which nothing is known that failed; there is nothing to try it with again.
    pub(crate) fn part(&mut self, ticket: TicketId, out: &mut Vec<Decision>) -> Option<BackendId> {
        let backend = self.slots.part(ticket)?;
        out.push(Decision::Refuse { ticket, why: Refusal::Exhausted { tried: 1, budget: false } });
        Some(backend)
    }

    pub(crate) fn forget(&mut self) {
        self.queue.clear();
        self.slots.recall(self.now);
        self.pass.forget();
        self.desk.decided.clear();
    }

    /// Takes in an event, as `handle`; what it says is kept until the lead whose order this is asks for it, which
    /// `lead::Event::Wake` makes it do. What no lead decides is told this way: what is heard of servers, and other fleets.
    pub fn tell(&mut self, now: Moment, event: Event) {
        let mut decided = std::mem::take(&mut self.desk.decided);
        let (from, copy) = (decided.len(), self.desk.steps.is_some().then(|| event.clone()));
        self.handle(now, event, &mut decided);
        if let (Some(steps), Some(event)) = (&mut self.desk.steps, copy) {
            steps.push(Step { at: now, event, said: decided[from..].to_vec() });
        }
        self.desk.decided = decided;
    }

    /// The lead knows better what becomes of a ticket than what it was not told yet.
    fn unsaid(&mut self, number: TicketId) {
        self.desk.decided.retain(|decision| match decision {
            Decision::Start { ticket, .. } | Decision::Refuse { ticket, .. } => *ticket != number,
        });
    }
}

/// A start on that backend, if it is one of the candidates.
fn place(ticket: &queue::Ticket, backend: BackendId) -> Option<Place> {
    let mut candidates = (0u16..).zip(ticket.arrival.candidates.iter().take(CANDIDATES_MAX));
    let (candidate, of) = candidates.find(|(_, candidate)| candidate.backend == backend)?;
    Some(Place { candidate, backend, model: of.model, warm: None })
}

impl Order for Scheduler {
    fn arrive(&mut self, now: Moment, number: TicketId, since: Moment, ticket: &Ticket) {
        let arrival = Box::new(ticket.arrival(number, now));
        self.tell(now, Event::Waited { arrival, since, tried: ticket.tried.clone() });
    }

    fn began(&mut self, now: Moment, number: TicketId, backend: BackendId, wants: Option<&Arc<Wants>>) {
        self.unsaid(number);
        let arrival = wants.map(|wants| Box::new(wants.arrival(number, Moment::NEVER)));
        self.tell(now, Event::Began { ticket: number, backend, arrival });
    }

    fn back(&mut self, now: Moment, number: TicketId) {
        self.tell(now, Event::Back { ticket: number });
        self.desk.again = true;
    }

    fn first_token(&mut self, now: Moment, number: TicketId) {
        self.tell(now, Event::FirstToken { ticket: number });
    }

    fn finish(&mut self, now: Moment, number: TicketId, outcome: Outcome, usage: Usage) {
        let compared = |digest: &Digest| outcome == Outcome::Done && !digest.marks.is_empty();
        self.desk.digest = Scheduler::digest(self, now, number, usage).filter(compared);
        self.tell(now, Event::Finish { ticket: number, outcome, usage });
    }

    fn fail(&mut self, now: Moment, number: TicketId, fault: Fault, sent: bool) {
        self.tell(now, Event::Fail { ticket: number, fault, sent });
    }

    fn cancel(&mut self, now: Moment, number: TicketId) {
        self.unsaid(number);
        self.tell(now, Event::Cancel { ticket: number });
    }

    fn slots(&mut self, now: Moment, backend: BackendId, slots: u32) {
        self.tell(now, Event::Slots { backend, slots: Some(slots) });
    }

    fn decide(&mut self, now: Moment, out: &mut Vec<Verdict>) {
        let due = Scheduler::next_wake(self).is_some_and(|wake| wake <= now);
        if std::mem::take(&mut self.desk.again) || due {
            self.tell(now, Event::Wake);
        }
        out.extend(self.desk.decided.drain(..).map(|decision| match decision {
            Decision::Start { ticket: number, backend, .. } => Verdict::Start { number, backend },
            Decision::Refuse { ticket: number, why } => Verdict::Refuse { number, why },
        }));
    }

    fn digest(&mut self) -> Option<Digest> {
        self.desk.digest.take()
    }

    fn front(&self, backend: BackendId, most: usize) -> Vec<TicketId> {
        self.next_at(backend, most)
    }

    fn contended(&self, backend: BackendId) -> bool {
        self.wanted(backend)
    }

    fn next_wake(&self) -> Option<Moment> {
        match self.desk.decided.is_empty() {
            true => Scheduler::next_wake(self),
            false => Some(self.now),
        }
    }
}
