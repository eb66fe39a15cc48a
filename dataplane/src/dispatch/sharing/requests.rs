//! Requests of this data plane among others: they wait, run, fail and end.

use std::sync::Arc;

use sched::{
    Arrival, BackendId, Candidate, Event, Fault, Moment, Outcome, RETRY_AFTER_MIN, Refusal, Span, TRIES_MAX,
    TicketId, Usage, owner,
    permit::{Permit, Wants},
};

use super::{Cooling, LEADERLESS_WAIT, Part, Request, Said, Sharing};
use crate::dispatch::Verdict;

impl Sharing {
    /// The number in the protocol of a request.
    pub(in crate::dispatch) fn number(&self, ticket: TicketId) -> TicketId {
        self.numbers.get(&ticket).copied().unwrap_or(ticket)
    }

    fn draw(&mut self) -> TicketId {
        self.drawn += 1;
        TicketId(self.drawn)
    }

    pub(super) fn arrive(&mut self, now: Moment, arrival: Arrival, said: &mut Vec<Said>) {
        let (ticket, deadline) = (arrival.ticket, arrival.deadline);
        let waiting = self.owner.waiting();
        if !self.owner.led() && waiting >= self.part().scheduler().fleet().queue_max {
            let why = Refusal::QueueFull { waiting, retry_after: RETRY_AFTER_MIN };
            return said.push((ticket, Verdict { said: Err(why), story: None }));
        }
        self.enter(ticket, ticket, (now, deadline), Arc::new(wants(arrival)), Vec::new());
    }

    /// A request waits from now on.
    pub(super) fn enter(
        &mut self,
        number: TicketId,
        ticket: TicketId,
        (since, deadline): (Moment, Moment),
        wants: Arc<Wants>,
        tried: Vec<BackendId>,
    ) {
        let (now, led) = (self.now, self.owner.led());
        let unasked = match self.part_mut() {
            Part::Follows(scheduler) => scheduler.unasked(now, &wants, led),
            Part::Leads(_) => Vec::new(),
        };
        self.due.insert((deadline, number));
        if !self.owner.led() {
            self.leaderless.insert((self.now + LEADERLESS_WAIT, number));
        }
        let request = Request {
            ticket,
            wants: wants.clone(),
            since,
            deadline,
            permit: None,
            tried,
            offer: None,
            all: None,
        };
        self.requests.insert(number, request);
        self.tell(owner::Event::Arrive { ticket: number, wants, since, deadline, unasked });
    }

    /// A request runs already.
    pub(super) fn runs(
        &mut self,
        ticket: TicketId,
        permit: Permit,
        (since, deadline): (Moment, Moment),
        wants: Arc<Wants>,
    ) {
        let (tried, offer) = (vec![permit.backend], None);
        let request = Request {
            ticket,
            wants: wants.clone(),
            since,
            deadline,
            permit: Some(permit),
            tried,
            offer,
            all: None,
        };
        self.requests.insert(ticket, request);
        self.tell(owner::Event::Runs { ticket, permit, wants, deadline });
    }

    /// A slot on which nothing runs cools.
    pub(super) fn cools(&mut self, permit: Permit, until: Moment) {
        let (ticket, wants) = (self.draw(), Arc::new(Wants::nothing()));
        self.cool(ticket, permit.backend, until, (Outcome::Unsent, Usage::default()));
        self.tell(owner::Event::Runs { ticket, permit, wants, deadline: until });
    }

    fn cool(
        &mut self,
        ticket: TicketId,
        backend: BackendId,
        until: Moment,
        (outcome, usage): (Outcome, Usage),
    ) {
        self.cooling.insert(ticket, Cooling { until, backend, outcome, usage });
    }

    /// A request is not here any more.
    pub(super) fn remove(&mut self, number: TicketId) -> Option<Request> {
        let request = self.requests.remove(&number)?;
        self.due.remove(&(request.deadline, number));
        self.numbers.remove(&request.ticket);
        Some(request)
    }

    /// One that waited is started.
    pub(super) fn started(&mut self, number: TicketId, permit: Permit) -> Option<&mut Request> {
        let request = self.requests.get_mut(&number)?;
        request.permit = Some(permit);
        request.tried.push(permit.backend);
        self.due.remove(&(request.deadline, number));
        Some(request)
    }

    pub(super) fn finish(&mut self, now: Moment, ticket: TicketId, outcome: Outcome, usage: Usage) {
        let number = self.number(ticket);
        let Some(Request { permit: Some(permit), .. }) = self.remove(number) else { return };
        self.learn(now, Event::Finish { ticket: number, outcome, usage });
        let cut = matches!(outcome, Outcome::Failed | Outcome::Aborted);
        let grace = if cut { self.grace(permit.backend) } else { Span::ZERO };
        if grace > Span::ZERO {
            return self.cool(number, permit.backend, now + grace, (outcome, usage));
        }
        self.tell(owner::Event::Closed { ticket: number, outcome, usage });
    }

    fn grace(&self, backend: BackendId) -> Span {
        let fleet = self.part().scheduler().fleet();
        fleet.backends.get(&backend).map_or(Span::ZERO, |backend| backend.release_grace)
    }

    pub(super) fn fail(
        &mut self,
        now: Moment,
        ticket: TicketId,
        (fault, sent): (Fault, bool),
        said: &mut Vec<Said>,
    ) {
        let number = self.number(ticket);
        let grace = match self.requests.get(&number).and_then(|request| request.permit) {
            Some(permit) if sent => self.grace(permit.backend),
            Some(_) => Span::ZERO,
            None => return,
        };
        let cools = (grace > Span::ZERO).then(|| self.draw());
        let Some(request) = self.requests.get_mut(&number) else { return };
        let Some(Permit { backend, .. }) = request.permit.take() else { return };
        self.due.insert((request.deadline, number));
        if fault == Fault::Refused && !sent {
            request.tried.pop();
        }
        let offer = request.offer.take();
        let outcome = if sent { Outcome::Failed } else { Outcome::Unsent };
        self.learn(now, Event::Finish { ticket: number, outcome, usage: Usage::default() });
        if let Some(rest) = cools {
            self.cool(rest, backend, now + grace, (Outcome::Unsent, Usage::default()));
        }
        self.tell(owner::Event::Failed { ticket: number, fault, sent, cools });
        if let Some(candidates) = offer {
            self.work(now, said);
            self.renew(number, candidates, said);
        }
    }

    /// Nobody wants the answer any more, of which nothing was sent.
    pub(super) fn cancel(&mut self, ticket: TicketId) {
        let number = self.number(ticket);
        match self.remove(number) {
            Some(Request { permit: None, .. }) => self.tell(owner::Event::Cancel { ticket: number }),
            Some(_) => {
                let (outcome, usage) = (Outcome::Unsent, Usage::default());
                self.learn(self.now, Event::Finish { ticket: number, outcome, usage });
                self.tell(owner::Event::Closed { ticket: number, outcome, usage });
            }
            None => {}
        }
    }

    /// Refuses those who waited for a lead for too long, and have nothing here to run on.
    pub(super) fn give_up(&mut self, now: Moment, said: &mut Vec<Said>) {
        let led = self.owner.led();
        if std::mem::replace(&mut self.was_led, led) && !led {
            let waiting = self.requests.iter().filter(|(_, request)| request.permit.is_none());
            self.leaderless.extend(waiting.map(|(number, _)| (now + LEADERLESS_WAIT, *number)));
        }
        if led {
            return self.leaderless.clear();
        }
        while let Some(&(_, number)) = self.leaderless.first().filter(|(until, _)| *until <= now) {
            self.leaderless.pop_first();
            let waits = self.requests.get(&number).filter(|request| request.permit.is_none());
            if waits.is_none_or(|request| self.serves(&request.wants.candidates)) {
                continue;
            }
            if let Some(request) = self.remove(number) {
                self.tell(owner::Event::Cancel { ticket: number });
                said.push((request.ticket, Verdict { said: Err(Refusal::Spare), story: None }));
            }
        }
        self.work(now, said);
    }

    pub(super) fn expire(&mut self, now: Moment, number: TicketId, said: &mut Vec<Said>) {
        let Some(request) = self.remove(number) else { return };
        self.tell(owner::Event::Cancel { ticket: number });
        let why = Refusal::Deadline { waited: now.since(request.since), retry_after: RETRY_AFTER_MIN };
        said.push((request.ticket, Verdict { said: Err(why), story: None }));
    }

    /// One that follows learns of servers by its own requests; a lead is told of them as of all others.
    pub(super) fn learn(&mut self, now: Moment, event: Event) {
        if let Part::Follows(scheduler) = self.part_mut() {
            scheduler.handle(now, event, &mut Vec::new());
        }
    }

    /// What a request leads to by now.
    pub(super) fn offer(
        &mut self,
        now: Moment,
        ticket: TicketId,
        candidates: Box<[Candidate]>,
        said: &mut Vec<Said>,
    ) {
        let number = self.number(ticket);
        let Some(request) = self.requests.get_mut(&number) else { return };
        if request.permit.is_some() {
            request.offer = Some(candidates);
            return;
        }
        self.work(now, said);
        self.renew(number, candidates, said);
    }

    /// One that waits leads elsewhere from now on: it comes again, as old as it is.
    fn renew(&mut self, number: TicketId, candidates: Box<[Candidate]>, said: &mut Vec<Said>) {
        let Some(Request { permit: None, .. }) = self.requests.get(&number) else { return };
        let Some(Request { ticket, wants, since, deadline, tried, .. }) = self.remove(number) else { return };
        self.tell(owner::Event::Cancel { ticket: number });
        let fresh = |candidate: &Candidate| !tried.contains(&candidate.backend);
        let all = candidates;
        let candidates: Box<[Candidate]> = all.iter().copied().filter(fresh).collect();
        if tried.len() >= TRIES_MAX || (candidates.is_empty() && !tried.is_empty()) {
            let why = Refusal::Exhausted { tried: tried.len(), budget: false };
            return said.push((ticket, Verdict { said: Err(why), story: None }));
        }
        let again = self.draw();
        self.numbers.insert(ticket, again);
        let wants = Arc::new(Wants { candidates, ..Wants::clone(&wants) });
        self.enter(again, ticket, (since, deadline), wants, tried);
        if let Some(request) = self.requests.get_mut(&again) {
            request.all = Some(all);
        }
    }
}

/// What is to be known of a request where it is decided who runs next.
pub(super) fn wants(arrival: Arrival) -> Wants {
    Wants {
        key: arrival.key,
        weight: arrival.weight,
        class: arrival.class,
        prompt_tokens: arrival.prompt_tokens,
        asked: arrival.asked,
        prompt: arrival.prompt,
        policy: arrival.policy,
        candidates: arrival.candidates,
    }
}
