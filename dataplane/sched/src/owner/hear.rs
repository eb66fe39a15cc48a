//! The owner's stream to the lead: appointment, greeting, what the lead says, and the time without one.

use super::{Act, Line, Owner, Stream};
use crate::permit::{Down, Flaw, HELD_MAX, LINE_MAX, Permit, PlaneId, Term, Up};
use crate::{BackendId, Moment, TicketId};

impl Owner {
    pub(super) fn picture(&mut self, lead: Option<(PlaneId, Term)>, out: &mut Vec<Act>) {
        let Some((plane, term)) = lead else { return };
        let (known, late) = (self.lead == Some((plane, term)), term < self.heard);
        if known || (late && !self.planted.is(Flaw::NoTermCheck)) {
            return self.connect(out);
        }
        self.heard = self.heard.max(term);
        self.lead = Some((plane, term));
        self.disconnect(out);
        self.connect(out);
    }

    /// Looks for the lead, if it is known.
    pub(super) fn connect(&mut self, out: &mut Vec<Act>) {
        if let (Some((lead, _)), Stream::None) = (self.lead, self.stream)
            && !self.fenced
        {
            self.attempts += 1;
            self.stream = Stream::Opening(self.attempts);
            out.push(Act::Connect { lead, attempt: self.attempts });
        }
    }

    pub(super) fn disconnect(&mut self, out: &mut Vec<Act>) {
        if self.stream != Stream::None {
            self.alone();
            out.push(Act::Disconnect);
        }
    }

    /// There is no lead: nothing of what one said about others holds any longer.
    fn alone(&mut self) {
        self.stream = Stream::None;
        self.lines.clear();
    }

    pub(super) fn greet(&mut self, attempt: u64, out: &mut Vec<Act>) {
        if self.stream != Stream::Opening(attempt) {
            return;
        }
        out.push(Act::Send(Up::Hello { member: self.member, heard: self.heard, attempt }));
        if self.planted.is(Flaw::EarlyReport) {
            out.push(Act::Send(self.report()));
        }
    }

    pub(super) fn lost(&mut self, attempt: u64, out: &mut Vec<Act>) {
        if self.stream() != Some(attempt) {
            return;
        }
        self.alone();
        self.serve(out);
        self.connect(out);
    }

    /// Without a lead its own requests run on what it holds, in order of arrival.
    pub(super) fn serve(&mut self, out: &mut Vec<Act>) {
        if self.led() {
            return;
        }
        let backends: Vec<BackendId> = self.held.keys().map(|permit| permit.backend).collect();
        for backend in backends {
            while let (Some(permit), Some(ticket)) = (self.idle(backend), self.waiting.first(backend)) {
                let open = self.waiting.take(ticket).expect("who is first waits");
                self.run(ticket, permit, open, out);
            }
        }
    }

    pub(super) fn hear(&mut self, now: Moment, attempt: u64, message: Down, out: &mut Vec<Act>) {
        let current = self.stream() == Some(attempt);
        let heard = self.planted.is(Flaw::OldStreams) && self.stream != Stream::None;
        if !(current || heard) {
            return;
        }
        match message {
            Down::Welcome { term } => self.welcome(now, attempt, term, out),
            // a lead speaks of permits only after it has been told what is held
            _ if !self.led() => {}
            Down::Grant { term, permit, ticket } => self.grant(term, permit, ticket, out),
            Down::Park { term, permit } => {
                if self.take(term, permit, out) && (self.leaving || self.mute) {
                    self.revoke(permit, out);
                }
            }
            Down::Next { permit, ticket } => {
                let idle = self.held.get(&permit).is_some_and(|hold| hold.running.is_none() && !hold.leaving);
                if idle && !self.mute {
                    self.start_waiting(ticket, permit, out);
                }
            }
            Down::Line { backend, next, contended } => {
                self.lines.remove(&backend);
                if contended || !next.is_empty() {
                    let next = next.into_iter().take(LINE_MAX).collect();
                    self.lines.insert(backend, Line { next, contended });
                }
            }
            Down::Revoke { permit } => self.revoke(permit, out),
            Down::Digest(digest) => out.push(Act::Learn(digest)),
            Down::Refuse { ticket, why } => {
                if self.waiting.take(ticket).is_some() {
                    out.push(Act::Refuse { ticket, why });
                }
            }
        }
    }

    fn welcome(&mut self, now: Moment, attempt: u64, term: Term, out: &mut Vec<Act>) {
        if term < self.heard && !self.planted.is(Flaw::NoTermCheck) {
            return self.disconnect(out);
        }
        if self.led() {
            return;
        }
        self.heard = self.heard.max(term);
        self.stream = Stream::Welcomed(attempt);
        if !self.planted.is(Flaw::EarlyReport) {
            out.push(Act::Send(self.report()));
        }
        out.extend(self.waiting.tickets(now).into_iter().map(|ticket| Act::Send(Up::Ticket(ticket))));
    }

    fn grant(&mut self, term: Term, permit: Permit, ticket: TicketId, out: &mut Vec<Act>) {
        if !self.take(term, permit, out) {
            return;
        }
        if self.mute {
            return self.revoke(permit, out);
        }
        if self.start_waiting(ticket, permit, out) {
            return;
        }
        match self.next(permit.backend) {
            Some(Some(next)) => drop(self.start_waiting(next, permit, out)),
            _ => self.revoke(permit, out),
        }
    }

    /// Takes a permit into its hands; the answer is whether it is new and idle there.
    fn take(&mut self, term: Term, permit: Permit, out: &mut Vec<Act>) -> bool {
        if term < self.heard && !self.planted.is(Flaw::NoTermCheck) {
            return false;
        }
        if self.held.len() >= HELD_MAX {
            self.say(Up::Release { permit }, out);
            return false;
        }
        self.held.entry(permit).or_default().running.is_none()
    }

    fn start_waiting(&mut self, ticket: TicketId, permit: Permit, out: &mut Vec<Act>) -> bool {
        let Some(open) = self.waiting.take(ticket) else { return false };
        self.start(ticket, permit, open, false, out);
        true
    }
}
