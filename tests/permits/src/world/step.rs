//! What a process does about what reaches it, and the laws afterwards.

use std::sync::Arc;

use sched::lead::{self, Lead};
use sched::owner::{self, Act, Owner};
use sched::permit::{Down, Incarnation, Up, Wants};
use sched::{
    Asked, BackendId, Candidate, Chain, Class, Fault, Key, ModelId, Moment, Outcome, Policy, TicketId, Usage,
};

use super::{CONTROL, Happening, Input, Known, Mark, Served, Service, World};
use crate::control::Picture;
use crate::core::Core;
use crate::fifo::Fifo;
use crate::judge::{Resolved, Stand};
use crate::net::End;

impl World {
    /// Something reaches a process, if that is still the one that runs there.
    pub fn reach(&mut self, end: End, input: Input) {
        self.todo.push_back((end, input));
        while let Some((end, input)) = self.todo.pop_front() {
            let Some(process) = self.process(end.machine).filter(|process| process.life == end.life) else {
                continue;
            };
            if process.paused {
                process.backlog.push_back(input);
                continue;
            }
            if self.loud {
                println!("{} {}.{} {input:?}", self.now, end.machine, end.life);
            }
            self.step(end, input);
            self.judge.held(self.planes.iter().filter_map(|plane| Some(&plane.process.as_ref()?.owner)));
        }
    }

    fn step(&mut self, end: End, input: Input) {
        match input {
            Input::Owner(event) => self.owner(end, event),
            Input::Lead(event) => self.lead(end, event),
            Input::Picture(picture) => self.picture(end, picture),
            Input::Accept(stream) => self.accept(end, stream),
            Input::Arrive(backends, length) => self.arrive(end, backends, length),
            Input::Knock => {
                let next = self.within(20_000, 60_000);
                self.plan(next, Happening::Reach(end, None, Input::Knock));
                if !self.blocked(end.machine, CONTROL) {
                    let plane = &self.planes[end.machine];
                    let (id, starts, sent) = (plane.id, plane.starts, plane.clock.at(self.now));
                    let after = self.delay();
                    self.plan(after, Happening::Register(end.machine, id, Incarnation(starts), sent));
                }
            }
            Input::Left(ticket) => self.left(end, ticket),
            Input::Ended(ticket, outcome) => {
                self.judge.requests.insert((end.life, ticket), Stand::Ended);
                let usage = Usage::default();
                self.owner(end, owner::Event::Closed { ticket, outcome, usage });
            }
            Input::Failed(ticket) => self.failed(end, ticket),
            Input::Wake => {
                if let Some(process) = self.process(end.machine) {
                    process.wake = None;
                }
                self.lead(end, lead::Event::Wake);
                self.owner(end, owner::Event::Wake);
            }
        }
        self.wake(end);
    }

    /// Plans the next timer of a process.
    fn wake(&mut self, end: End) {
        let clock = self.planes[end.machine].clock;
        let now = self.now;
        let Some(process) = self.process(end.machine) else { return };
        let lead = process.lead.as_ref().and_then(Lead::next_wake);
        let Some(due) = [lead, process.owner.next_wake()].into_iter().flatten().min() else { return };
        let at = clock.when(due).max(now + 1);
        if process.wake.is_none_or(|wake| at < wake) {
            process.wake = Some(at);
            self.plan(at - now, Happening::Reach(end, None, Input::Wake));
        }
    }

    fn arrive(&mut self, end: End, backends: Vec<BackendId>, length: u64) {
        let rough = self.settings.rough;
        let (unasked, fails, leaves) = match rough {
            true => (self.rng.chance(0.7), self.rng.chance(0.04), self.rng.chance(0.06)),
            false => (true, false, false),
        };
        let now = self.planes[end.machine].clock.at(self.now);
        let Some(process) = self.process(end.machine) else { return };
        process.tickets += 1;
        let ticket = TicketId(process.tickets);
        let candidate = |backend: &BackendId| Candidate { backend: *backend, model: ModelId(0), reserve: 0 };
        let wants = Wants {
            key: Key(end.machine as u64),
            weight: 1,
            class: Class::Normal,
            prompt_tokens: 100,
            asked: Asked(0),
            prompt: Chain::default(),
            policy: Policy::Priority,
            candidates: backends.iter().map(candidate).collect(),
        };
        let request = (end.life, ticket);
        self.judge.requests.insert(request, Stand::Waits);
        self.services.insert(request, Service { length, fails, attempt: 0 });
        self.mark(request, Mark::Came);
        let unasked = if unasked { backends } else { Vec::new() };
        let deadline = Moment(now.0 + 600_000_000);
        self.owner(
            end,
            owner::Event::Arrive { ticket, wants: Arc::new(wants), since: now, deadline, unasked },
        );
        if leaves {
            let after = self.within(0, 2 * self.settings.service.1);
            self.plan(after, Happening::Reach(end, None, Input::Left(ticket)));
        }
    }

    pub(super) fn mark(&mut self, request: (u64, TicketId), mark: Mark) {
        if self.keeps {
            self.journal.push((self.now, request, mark));
        }
    }

    /// An attempt failed. Of some the engine works on, as the judge sees it.
    fn failed(&mut self, end: End, ticket: TicketId) {
        self.judge.requests.insert((end.life, ticket), Stand::Waits);
        let cools = self.settings.rough && self.rng.chance(0.5);
        let Some(process) = self.process(end.machine).filter(|_| cools) else {
            let event = owner::Event::Failed { ticket, fault: Fault::Refused, sent: false, cools: None };
            return self.owner(end, event);
        };
        process.tickets += 1;
        let rest = TicketId(process.tickets);
        let event = owner::Event::Failed { ticket, fault: Fault::Refused, sent: false, cools: Some(rest) };
        self.owner(end, event);
        let Some(process) = &self.planes[end.machine].process else { return };
        let Some((permit, _)) = process.owner.held().find(|(_, running)| *running == Some(rest)) else {
            return;
        };
        let request = (end.life, rest);
        self.judge.requests.insert(request, Stand::Waits);
        self.judge.start(request, permit, &process.owner);
        let length = self.within(0, self.settings.service.1);
        self.services.insert(request, Service { length, fails: false, attempt: 1 });
        self.plan(length, Happening::Served(request, 1, Served::Ended(Outcome::Unsent)));
    }

    fn left(&mut self, end: End, ticket: TicketId) {
        let request = (end.life, ticket);
        match self.judge.requests.get(&request) {
            Some(Stand::Waits) => {
                self.judge.requests.insert(request, Stand::Ended);
                self.owner(end, owner::Event::Cancel { ticket });
            }
            Some(Stand::Runs) => self.abort(request),
            _ => {}
        }
    }

    /// The connection to a server is closed, and the server sees that a little later.
    pub(super) fn abort(&mut self, request: (u64, TicketId)) {
        let after = self.within(0, 5_000);
        // what its server has ended already, ends as it did
        if !self.judge.working.iter().any(|working| working.request == request) {
            return;
        }
        let Some(service) = self.services.get_mut(&request) else { return };
        service.attempt += 1;
        let attempt = service.attempt;
        self.plan(after, Happening::Served(request, attempt, Served::Ended(Outcome::Aborted)));
    }

    fn picture(&mut self, end: End, picture: Picture) {
        let (id, starts) = (self.planes[end.machine].id, self.planes[end.machine].starts);
        let (flaw, core) = (self.settings.flaw, self.settings.core);
        let Some(process) = self.process(end.machine) else { return };
        if process.picture.as_ref().is_some_and(|known| known.version >= picture.version) {
            // a process would drop it; the term alone must do
            return self.owner(end, owner::Event::Picture { lead: picture.lead });
        }
        let registered = picture.roll.get(&id) == Some(&Incarnation(starts));
        if process.registered && !registered {
            // it is known dead, and begins anew
            self.owner(end, owner::Event::Fenced);
            return self.kill(end.machine, true);
        }
        process.registered |= registered;
        process.picture = Some(picture.clone());
        self.planes[end.machine].kept = Some(picture.clone());
        let Some(process) = self.process(end.machine) else { return };
        let slots = |backend: usize, slots: &u32| (BackendId(backend as u32), *slots);
        let limits: Vec<(BackendId, u32)> =
            picture.slots.iter().enumerate().map(|(at, of)| slots(at, of)).collect();
        let mine = picture.lead.filter(|(plane, _)| *plane == id).map(|(_, term)| term);
        let known = process.lead.as_ref().map(Lead::term);
        if let Some(term) = mine.filter(|term| known.is_none_or(|known| known < *term)) {
            if known.is_some() {
                self.resign(end);
            }
            let order: Box<dyn Known> = match core {
                true => Box::new(Core::new()),
                false => Box::new(Fifo::default()),
            };
            let lead = Lead::new(term, id, picture.roll.clone(), order).plant(flaw);
            if let Some(process) = self.process(end.machine) {
                process.lead = Some(lead);
            }
        } else if let Some((_, term)) = picture.lead {
            self.lead(end, lead::Event::Picture { term, roll: picture.roll.clone() });
        }
        for (backend, slots) in limits {
            self.lead(end, lead::Event::Limit { backend, slots });
            self.owner(end, owner::Event::Limit { backend, slots });
        }
        self.owner(end, owner::Event::Picture { lead: picture.lead });
    }

    pub(super) fn owner(&mut self, end: End, event: owner::Event) {
        let now = self.planes[end.machine].clock.at(self.now);
        let Some(process) = self.process(end.machine) else { return };
        let heard = process.owner.heard();
        let before = Before::of(&process.owner, &event);
        let mut acts = Vec::new();
        process.owner.handle(now, event, &mut acts);
        let after = process.owner.heard();
        let fault = before.fault(&process.owner, &acts);
        if after < heard {
            self.judge.fail("I3", format!("the term of {end:?} fell from {heard:?} to {after:?}"));
        }
        if let Some((law, why)) = fault {
            self.judge.fail(law, format!("{end:?}: {why}"));
        }
        for act in acts {
            self.owner_acts(end, act);
        }
    }

    pub(super) fn lead(&mut self, end: End, event: lead::Event) {
        let clock = self.planes[end.machine].clock;
        let now = clock.at(self.now);
        let Some(process) = self.process(end.machine) else { return };
        let Some(lead) = process.lead.as_mut() else { return };
        let mut acts = Vec::new();
        let term = lead.term();
        let resolved = match &event {
            lead::Event::Heard { stream, message } => Some((*stream, message.clone())),
            _ => None,
        };
        lead.handle(now, event, &mut acts);
        let alike = lead.over() || lead.tickets().eq(Known::tickets(lead.order().as_ref()));
        if !alike {
            self.judge.fail("books", format!("the lead {end:?} and its order know different tickets"));
        }
        if let Some((stream, message)) = resolved
            && let Some(plane) = self.whose(stream)
        {
            match message {
                Up::Report { .. } => self.judge.resolve(term, plane, None),
                Up::Release { permit } => {
                    self.judge.resolve(term, plane, Some(Resolved::Back(permit)));
                }
                Up::Failed { ticket, .. } => {
                    self.judge.resolve(term, plane, Some(Resolved::Failed(ticket)));
                }
                _ => {}
            }
        }
        for act in acts {
            self.lead_acts(end, term, act);
        }
    }
}

/// What a message must not change, or must bring about.
struct Before {
    /// It comes by a stream or of a term that is over: what was held.
    stale: Option<Vec<sched::permit::Permit>>,
    /// A grant that counts.
    granted: Option<(sched::permit::Permit, TicketId)>,
}

impl Before {
    fn of(owner: &Owner, event: &owner::Event) -> Before {
        let none = Before { stale: None, granted: None };
        let owner::Event::Heard { attempt, message } = event else { return none };
        let term = match message {
            Down::Grant { term, .. } | Down::Park { term, .. } => *term,
            _ => owner.heard(),
        };
        if owner.stream() != Some(*attempt) || term < owner.heard() {
            return Before { stale: Some(owner.held().map(|(permit, _)| permit).collect()), ..none };
        }
        match message {
            Down::Grant { permit, ticket, .. } if owner.led() => {
                Before { granted: Some((*permit, *ticket)), ..none }
            }
            _ => none,
        }
    }

    fn fault(self, owner: &Owner, acts: &[Act]) -> Option<(&'static str, String)> {
        if let Some(held) = self.stale
            && held != owner.held().map(|(permit, _)| permit).collect::<Vec<_>>()
        {
            return Some(("I3", "what comes too late changes what is held".to_owned()));
        }
        let (granted, whom) = self.granted?;
        let settled = |act: &Act| match act {
            Act::Start { permit, .. } => *permit == granted,
            Act::Send(Up::Release { permit }) => *permit == granted,
            _ => false,
        };
        let why = || format!("the grant of {granted:?} for {whom:?} neither starts one nor is returned");
        (!acts.iter().any(settled)).then(|| ("I8", why()))
    }
}
