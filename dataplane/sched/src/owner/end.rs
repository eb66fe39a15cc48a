//! The end of a request at its owner: what becomes of the permit, and of a ticket whose attempt failed.

use super::{Open, Owner, Run, Stream};
use crate::owner::Act;
use crate::permit::{Permit, Then, Up};
use crate::{BackendId, Fault, Outcome, Refusal, TRIES_MAX, TicketId, Usage};

impl Owner {
    pub(super) fn closed(&mut self, ticket: TicketId, outcome: Outcome, usage: Usage, out: &mut Vec<Act>) {
        let Some(Run { permit, .. }) = self.runs.remove(&ticket) else { return };
        let then = self.then(permit);
        self.say(Up::Done { permit, ticket, outcome, usage, then }, out);
        self.follow(permit, then, out);
    }

    pub(super) fn failed(
        &mut self,
        ticket: TicketId,
        (fault, sent): (Fault, bool),
        cools: Option<TicketId>,
        out: &mut Vec<Act>,
    ) {
        let Some(Run { permit, mut open }) = self.runs.remove(&ticket) else { return };
        let then = if cools.is_some() { Then::Park } else { self.then(permit) };
        self.say(Up::Failed { permit, ticket, fault, sent, then }, out);
        match cools {
            Some(rest) => self.cool(permit, rest, &open, out),
            None => self.follow(permit, then, out),
        }
        if fault != Fault::Refused || sent {
            open.tried.push(permit.backend);
        }
        let tried = open.tried.len();
        if tried >= TRIES_MAX || open.backends().next().is_none() {
            self.say(Up::Cancel { ticket }, out);
            return out.push(Act::Refuse { ticket, why: Refusal::Exhausted { tried, budget: false } });
        }
        match self.spot(&open, &[]) {
            Some(permit) if !self.led() => self.start(ticket, permit, open, false, out),
            _ => self.waiting.push(ticket, open),
        }
    }

    /// Nothing starts on a permit before its engine has stopped: for the lead something runs there.
    fn cool(&mut self, permit: Permit, rest: TicketId, open: &Open, out: &mut Vec<Act>) {
        let hold = self.held.get_mut(&permit).expect("what ran, ran on a held permit");
        hold.running = Some(rest);
        self.say(Up::Started { permit, ticket: rest, wants: Some(open.wants.clone()) }, out);
        self.runs.insert(rest, Run { permit, open: open.clone() });
    }

    /// What becomes of a permit whose request has ended.
    fn then(&mut self, permit: Permit) -> Then {
        let Some(hold) = self.held.get(&permit) else { return Then::Release };
        if hold.leaving || self.mute || self.home() || (self.leaving && self.led()) {
            return Then::Release;
        }
        let own = self.waiting.first(permit.backend);
        if self.leaving {
            return own.map_or(Then::Release, Then::Next);
        }
        let Some(line) =
            self.lines.get_mut(&permit.backend).filter(|_| matches!(self.stream, Stream::Welcomed(_)))
        else {
            return own.map_or(Then::Park, Then::Next);
        };
        let contended = line.contended;
        match (self.next(permit.backend), own) {
            (Some(Some(ticket)), _) => Then::Next(ticket),
            (Some(None), _) => Then::Release,
            (None, _) if contended => Then::Release,
            (None, Some(ticket)) => Then::Next(ticket),
            (None, None) => Then::Park,
        }
    }

    /// Who is next at a backend as far as the lead said: a waiting ticket of its own, or another's (`Some(None)`).
    pub(super) fn next(&mut self, backend: BackendId) -> Option<Option<TicketId>> {
        let line = self.lines.get_mut(&backend)?;
        while let Some(next) = line.next.pop_front() {
            if next.is_none_or(|ticket| self.waiting.contains(ticket)) {
                return Some(next);
            }
        }
        None
    }

    fn follow(&mut self, permit: Permit, then: Then, out: &mut Vec<Act>) {
        match then {
            Then::Release => drop(self.held.remove(&permit)),
            Then::Park => self.held.entry(permit).or_default().running = None,
            Then::Next(next) => {
                let open = self.waiting.take(next).expect("who is next was looked up");
                self.run(next, permit, open, out);
            }
        }
    }
}
