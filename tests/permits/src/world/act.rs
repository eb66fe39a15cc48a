//! What processes ask for: streams, messages, starts; and their end.

use sched::Outcome;
use sched::lead::{self, StreamId};
use sched::owner;
use sched::permit::{Down, PlaneId, Term, Up};

use super::{Happening, Input, Mark, Served, World};
use crate::judge::{Request, Stand};
use crate::net::End;

impl World {
    /// The data plane at the follower's end of a stream.
    pub(super) fn whose(&self, stream: StreamId) -> Option<PlaneId> {
        let conn = self.net.get(stream)?;
        Some(self.planes[conn.from.machine].id)
    }

    pub(super) fn owner_acts(&mut self, end: End, act: owner::Act) {
        match act {
            owner::Act::Connect { lead, attempt } => {
                self.hang_up(end);
                let id = self.planes[end.machine].id;
                let leads = self.planes[end.machine].leads().is_some();
                if lead == id && leads {
                    let stream = self.net.open(end, attempt, end, false);
                    if let Some(process) = self.process(end.machine) {
                        process.home = Some((stream, attempt));
                    }
                    return self.todo.push_back((end, Input::Owner(owner::Event::Up { attempt })));
                }
                let after = if self.settings.rough { self.within(500, 30_000) } else { 500 };
                self.plan(after, Happening::Open(end, attempt, lead));
            }
            owner::Act::Disconnect => self.hang_up(end),
            owner::Act::Send(message) => self.send_up(end, message),
            owner::Act::Start { ticket, permit } => {
                let request = (end.life, ticket);
                let plane = &self.planes[end.machine];
                if let Some(process) = &plane.process {
                    self.judge.start(request, permit, &process.owner);
                }
                self.mark(request, Mark::Started(permit.backend));
                self.serve(request);
            }
            owner::Act::Refuse { ticket, .. } => {
                self.judge.requests.insert((end.life, ticket), Stand::Ended);
            }
            owner::Act::Learn(_) => {}
            owner::Act::Abort { ticket } => self.abort((end.life, ticket)),
        }
    }

    fn serve(&mut self, request: Request) {
        let early = self.rng.unit();
        let Some(service) = self.services.get_mut(&request) else { return };
        service.attempt += 1;
        let attempt = service.attempt;
        let (length, how) = match std::mem::take(&mut service.fails) {
            true => ((service.length as f64 * early * 0.5) as u64, Served::Failed),
            false => (service.length, Served::Ended(Outcome::Done)),
        };
        self.plan(length, Happening::Served(request, attempt, how));
    }

    pub(super) fn served(&mut self, request: Request, attempt: u64, how: Served) {
        let running = self.judge.requests.get(&request) == Some(&Stand::Runs);
        if !running || self.services.get(&request).is_none_or(|service| service.attempt != attempt) {
            return;
        }
        self.judge.stop(request);
        self.mark(request, Mark::Ended);
        let machine = self
            .planes
            .iter()
            .position(|plane| plane.process.as_ref().is_some_and(|process| process.life == request.0));
        let Some(machine) = machine else { return };
        let end = End { machine, life: request.0 };
        let input = match how {
            Served::Ended(outcome) => Input::Ended(request.1, outcome),
            Served::Failed => Input::Failed(request.1),
        };
        match self.settings.rough {
            // the next of the same number ends nothing more
            true => {
                if let Some(service) = self.services.get_mut(&request) {
                    service.attempt += 1;
                }
                let after = self.within(0, 1_000);
                self.plan(after, Happening::Reach(end, None, input));
            }
            false => self.reach(end, input),
        }
    }

    fn send_up(&mut self, end: End, message: Up) {
        let Some(process) = self.process(end.machine) else { return };
        if let Some((stream, _)) = process.home {
            let heard = Input::Lead(lead::Event::Heard { stream, message });
            return self.todo.push_back((end, heard));
        }
        let Some((stream, attempt)) = process.out else { return };
        self.messages += 1;
        let at = self.now + self.delay();
        let Some(to) = self.net.get(stream).map(|conn| conn.to) else { return };
        if self.settings.rough && matches!(message, Up::Hello { .. }) && self.rng.chance(0.1) {
            // the network repeats the beginning of the stream, later
            let ghost = self.net.open(end, attempt, to, true);
            let heard = Input::Lead(lead::Event::Heard { stream: ghost, message: message.clone() });
            let after = self.within(1_000, 100_000);
            self.plan(after, Happening::Reach(to, Some(ghost), heard));
            let closed = Input::Lead(lead::Event::Closed { stream: ghost });
            self.plan(after + 50_000, Happening::Reach(to, None, closed));
        }
        let heard = Input::Lead(lead::Event::Heard { stream, message });
        if let Some(at) = self.net.arrival(stream, true, at) {
            self.plan(at - self.now, Happening::Reach(to, Some(stream), heard));
        }
    }

    pub(super) fn lead_acts(&mut self, end: End, term: Term, act: lead::Act) {
        match act {
            lead::Act::Send { stream, message } => {
                if let Down::Grant { permit, ticket, .. } = message
                    && let Some(plane) = self.whose(stream)
                {
                    self.judge.grant(term, plane, ticket, permit);
                }
                self.send_down(end, stream, message);
            }
            lead::Act::Close { stream } => self.cut(stream, true),
            lead::Act::StepDown => self.resign(end),
        }
    }

    fn send_down(&mut self, end: End, stream: StreamId, message: Down) {
        let Some((to, attempt, ghost)) =
            self.net.get(stream).map(|conn| (conn.from, conn.attempt, conn.ghost))
        else {
            return;
        };
        let heard = Input::Owner(owner::Event::Heard { attempt, message });
        if to == end {
            let home = self.process(end.machine).and_then(|process| process.home);
            if home == Some((stream, attempt)) {
                self.todo.push_back((end, heard));
            }
            return;
        }
        self.messages += 1;
        let at = self.now + self.delay();
        if let Some(at) = self.net.arrival(stream, false, at).filter(|_| !ghost) {
            self.plan(at - self.now, Happening::Reach(to, Some(stream), heard));
        }
    }

    /// A process leads no more: its streams end.
    pub(super) fn resign(&mut self, end: End) {
        let Some(process) = self.process(end.machine) else { return };
        process.lead = None;
        if let Some((_, attempt)) = process.home.take() {
            self.todo.push_back((end, Input::Owner(owner::Event::Lost { attempt })));
        }
        for stream in self.net.of(end.machine) {
            if self.net.get(stream).is_some_and(|conn| conn.to == end && conn.from != end) {
                self.cut(stream, true);
            }
        }
    }

    /// A follower ends its stream.
    fn hang_up(&mut self, end: End) {
        let Some(process) = self.process(end.machine) else { return };
        let (home, out) = (process.home.take(), process.out.take());
        if let Some((stream, _)) = home {
            self.todo.push_back((end, Input::Lead(lead::Event::Closed { stream })));
        }
        if let Some((stream, _)) = out {
            let lingers = self.rng.chance(0.5);
            let to = self.net.get(stream).map(|conn| conn.to);
            if self.net.cut(stream, lingers)
                && let Some(to) = to
            {
                let after = 10 * self.delay();
                let closed = Input::Lead(lead::Event::Closed { stream });
                self.plan(after, Happening::Reach(to, None, closed));
            }
        }
    }

    /// A stream breaks; each side sees that in its own time.
    pub fn cut(&mut self, stream: StreamId, lingers: bool) {
        let Some(conn) = self.net.get(stream).cloned() else { return };
        if !self.net.cut(stream, lingers) || conn.ghost {
            return;
        }
        let (soon, late) = (self.delay() * 2, self.delay() * 5);
        let (up, down) = if self.rng.chance(0.5) { (soon, late) } else { (late, soon) };
        let lost = Input::Owner(owner::Event::Lost { attempt: conn.attempt });
        self.plan(up, Happening::Reach(conn.from, None, lost));
        let closed = Input::Lead(lead::Event::Closed { stream });
        self.plan(down, Happening::Reach(conn.to, None, closed));
    }

    pub(super) fn open(&mut self, from: End, attempt: u64, lead: PlaneId) {
        let wanted = |process: &mut crate::plane::Process| {
            process.life == from.life && process.owner.stream() == Some(attempt)
        };
        if !self.process(from.machine).is_some_and(wanted) {
            return;
        }
        let target = self.planes.iter().position(|plane| plane.id == lead);
        let to = target.and_then(|machine| self.end(machine));
        let Some(to) = to.filter(|to| *to != from && !self.blocked(from.machine, to.machine)) else {
            let after = self.within(5_000, 50_000);
            let lost = Input::Owner(owner::Event::Lost { attempt });
            return self.plan(after, Happening::Reach(from, None, lost));
        };
        let stream = self.net.open(from, attempt, to, false);
        if let Some(process) = self.process(from.machine) {
            process.out = Some((stream, attempt));
        }
        let at = self.now + self.delay();
        if let Some(at) = self.net.arrival(stream, true, at) {
            self.plan(at - self.now, Happening::Reach(to, Some(stream), Input::Accept(stream)));
        }
    }

    pub(super) fn accept(&mut self, end: End, stream: StreamId) {
        if self.planes[end.machine].leads().is_none() {
            return self.cut(stream, false);
        }
        let Some((from, attempt)) = self.net.get(stream).map(|conn| (conn.from, conn.attempt)) else {
            return;
        };
        let at = self.now + self.delay();
        if let Some(at) = self.net.arrival(stream, false, at) {
            let up = Input::Owner(owner::Event::Up { attempt });
            self.plan(at - self.now, Happening::Reach(from, Some(stream), up));
        }
    }

    /// A process dies; its machine starts another, with its state directory or without.
    pub fn kill(&mut self, machine: usize, disk: bool) {
        let Some(process) = self.planes[machine].process.take() else { return };
        self.judge.die(process.life);
        for stream in self.net.of(machine) {
            let lingers = self.rng.chance(0.5);
            self.cut(stream, lingers);
        }
        let plane = &self.planes[machine];
        let (id, incarnation) = (plane.id, process.owner.member().incarnation);
        let (proof, after) = match self.settings.reigns {
            true => ((1_000, 50_000), (50_000, 500_000)),
            false => ((20_000, 400_000), (5_000, 300_000)),
        };
        let (proof, after) = (self.within(proof.0, proof.1), self.within(after.0, after.1));
        self.plan(proof, Happening::Bury(id, incarnation));
        self.plan(after, Happening::Boot(machine, disk));
    }
}
