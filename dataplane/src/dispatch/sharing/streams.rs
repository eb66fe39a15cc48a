//! What the two ends ask for, done: words by streams, starts, refusals; and the streams themselves.

use std::collections::BTreeMap;

use sched::{
    BackendId, Candidate, Event, Moment, Outcome, Refusal, Story, TicketId, Usage,
    lead::{self, StreamId},
    owner,
    permit::{Down, MEMBERS_MAX, Member, Permit, Up},
};

use super::{Input, Part, Said, Sharing};
use crate::dispatch::{Grant, Role, Standing, Verdict};
use crate::peer::Outbox;

/// Streams of those that follow at most: of each its current one, and an earlier one that is about to end.
const STREAMS_MAX: usize = 2 * MEMBERS_MAX;

impl Sharing {
    /// Tells both ends what there is to tell, and does what they ask for, until nothing is left.
    pub(super) fn work(&mut self, now: Moment, said: &mut Vec<Said>) {
        let (mut asked, mut ordered) = (Vec::new(), Vec::new());
        while let Some(input) = self.todo.pop_front() {
            match input {
                Input::Owner(event) => {
                    self.owner.handle(now, event, &mut asked);
                    for act in asked.drain(..) {
                        self.asked(act, said);
                    }
                }
                Input::Lead(event) => {
                    let Some(lead) = self.part_mut().lead() else { continue };
                    lead.handle(now, event, &mut ordered);
                    for act in ordered.drain(..) {
                        self.ordered(now, act);
                    }
                }
            }
        }
    }

    fn asked(&mut self, act: owner::Act, said: &mut Vec<Said>) {
        match act {
            owner::Act::Connect { lead, attempt } => {
                self.hang_up();
                if lead != self.me.plane {
                    return self.links.connect(lead, attempt);
                }
                // One that was the lead, and is not yet again, waits for the next picture.
                if let Part::Leads(_) = self.part() {
                    self.opened += 1;
                    self.home = Some((StreamId(self.opened), attempt));
                    self.tell(owner::Event::Up { attempt });
                }
            }
            owner::Act::Disconnect => {
                self.hang_up();
                self.links.disconnect();
            }
            owner::Act::Send(message) => self.say(message),
            owner::Act::Start { ticket, permit } => self.begin(ticket, permit, said),
            owner::Act::Refuse { ticket, why } => {
                let story = self.story(ticket);
                if let Some(request) = self.remove(ticket) {
                    said.push((request.ticket, Verdict { said: Err(why), story }));
                }
            }
            owner::Act::Abort { .. } => self.aborts = true,
            owner::Act::Learn(digest) => {
                let now = self.now;
                if let Part::Follows(scheduler) = self.part_mut() {
                    scheduler.learn(now, *digest);
                }
            }
        }
    }

    fn hang_up(&mut self) {
        self.out = None;
        if let Some((stream, _)) = self.home.take() {
            self.todo.push_back(Input::Lead(lead::Event::Closed { stream }));
        }
    }

    fn say(&mut self, message: Up) {
        if let Some((stream, _)) = self.home {
            return self.todo.push_back(Input::Lead(lead::Event::Heard { stream, message }));
        }
        if let Some((attempt, out)) = &self.out
            && !out.send(message)
        {
            let attempt = *attempt;
            self.out = None;
            self.tell(owner::Event::Lost { attempt });
        }
    }

    fn begin(&mut self, number: TicketId, permit: Permit, said: &mut Vec<Said>) {
        let story = self.story(number);
        let Permit { backend, slot } = permit;
        let Some(wants) = self.requests.get(&number).map(|request| request.wants.clone()) else {
            // Its end is still to be told, as that of one that waits: a slot was given for it meanwhile.
            let (outcome, usage) = (Outcome::Unsent, Usage::default());
            return self.tell(owner::Event::Closed { ticket: number, outcome, usage });
        };
        let (prefill_tps, prefix) = match self.part() {
            Part::Leads(lead) => (lead.order().prefill_tps(number), lead.order().prefix(number)),
            Part::Follows(scheduler) => scheduler.taste(&wants, backend),
        };
        let arrival = Some(Box::new(wants.arrival(number, Moment::NEVER)));
        self.learn(self.now, Event::Began { ticket: number, backend, arrival });
        let Some(request) = self.started(number, permit) else { return };
        let candidates = request.all.as_ref().unwrap_or(&request.wants.candidates);
        let ticket = request.ticket;
        let Some(candidate) = candidates.iter().position(|candidate| candidate.backend == backend) else {
            // It was offered others meanwhile: its line of backends is what it last asked with.
            let why = Refusal::NoCandidate;
            self.cancel(ticket);
            return said.push((ticket, Verdict { said: Err(why), story }));
        };
        let grant = Grant { candidate, backend, slot, prefill_tps, prefix };
        said.push((ticket, Verdict { said: Ok(grant), story }));
    }

    fn story(&mut self, number: TicketId) -> Option<Box<Story>> {
        match self.part_mut() {
            Part::Leads(lead) => lead.order_mut().take_story(number),
            Part::Follows(_) => None,
        }
    }

    fn ordered(&mut self, now: Moment, act: lead::Act) {
        match act {
            lead::Act::Send { stream, message } => {
                if let Some((home, attempt)) = self.home
                    && home == stream
                {
                    return self.tell(owner::Event::Heard { attempt, message });
                }
                if self.streams.get(&stream).is_some_and(|out| !out.send(message)) {
                    self.left(stream);
                }
            }
            lead::Act::Close { stream } => self.left(stream),
            lead::Act::StepDown => self.step_down(now),
        }
    }

    /// There is a later term.
    fn step_down(&mut self, now: Moment) {
        self.streams.clear();
        let part = self.part.take().expect("it is taken out only while it changes");
        self.part = Some(match part {
            Part::Leads(lead) => {
                tracing::info!(term = lead.term().0, "leads no longer");
                let mut scheduler = lead.into_order();
                scheduler.recall(now);
                Part::Follows(Box::new(scheduler))
            }
            follows @ Part::Follows(_) => follows,
        });
        if let Some((_, attempt)) = self.home.take() {
            self.tell(owner::Event::Lost { attempt });
        }
    }

    /// The stream that was asked for is there.
    pub(in crate::dispatch) fn connected(&mut self, attempt: u64, out: Outbox<Up>) {
        if self.owner.stream() == Some(attempt) && self.home.is_none() {
            self.out = Some((attempt, out));
            self.tell(owner::Event::Up { attempt });
        }
    }

    /// It is gone.
    pub(in crate::dispatch) fn lost(&mut self, attempt: u64) {
        if self.out.as_ref().is_some_and(|(open, _)| *open == attempt) {
            self.out = None;
        }
        self.tell(owner::Event::Lost { attempt });
    }

    /// The lead says something.
    pub(in crate::dispatch) fn heard(&mut self, attempt: u64, message: Down) {
        self.tell(owner::Event::Heard { attempt, message });
    }

    /// Another data plane opened a stream; `None`: this one does not lead, or too many did.
    pub(in crate::dispatch) fn joined(&mut self, out: Outbox<Down>) -> Option<StreamId> {
        let Part::Leads(_) = self.part() else { return None };
        if self.streams.len() >= STREAMS_MAX {
            return None;
        }
        self.opened += 1;
        self.streams.insert(StreamId(self.opened), out);
        Some(StreamId(self.opened))
    }

    /// Another data plane says something.
    pub(in crate::dispatch) fn told(&mut self, stream: StreamId, message: Up) {
        if self.streams.contains_key(&stream) {
            self.todo.push_back(Input::Lead(lead::Event::Heard { stream, message }));
        }
    }

    /// A stream of another data plane is gone.
    pub(in crate::dispatch) fn left(&mut self, stream: StreamId) {
        if self.streams.remove(&stream).is_some() {
            self.todo.push_back(Input::Lead(lead::Event::Closed { stream }));
        }
    }

    /// Those that are to follow this data plane, and do not.
    pub(in crate::dispatch) fn absent(&self) -> Vec<Member> {
        match self.part() {
            Part::Leads(lead) => lead.absent().collect(),
            Part::Follows(_) => Vec::new(),
        }
    }

    /// How it shares slots with others now.
    pub(in crate::dispatch) fn standing(&self) -> Standing {
        let role = match (self.part(), self.owner.led()) {
            (Part::Leads(_), _) => Role::Leads,
            (Part::Follows(_), true) => Role::Led,
            (Part::Follows(_), false) => Role::Leaderless,
        };
        let mut permits: BTreeMap<BackendId, (u32, u32)> = BTreeMap::new();
        for (permit, running) in self.owner.held() {
            let (held, parked) = permits.entry(permit.backend).or_default();
            *held += 1;
            *parked += u32::from(running.is_none());
        }
        Standing { role, term: self.owner.heard().0, permits }
    }

    /// Whether a request with these candidates can run here: a lead may give a permit for it, or some are held.
    pub(in crate::dispatch) fn serves(&self, candidates: &[Candidate]) -> bool {
        let held =
            |candidate: &Candidate| self.owner.held().any(|(permit, _)| permit.backend == candidate.backend);
        self.owner.led() || candidates.iter().any(held)
    }

    /// How many requests run here on a backend, and how many of its slots cool.
    pub(in crate::dispatch) fn here(&self, backend: BackendId) -> (u32, u32) {
        let permits = self.requests.values().filter_map(|request| request.permit);
        let runs = permits.filter(|permit| permit.backend == backend).count();
        let cools = self.cooling.values().filter(|cooling| cooling.backend == backend).count();
        (u32::try_from(runs).unwrap_or(u32::MAX), u32::try_from(cools).unwrap_or(u32::MAX))
    }
}
