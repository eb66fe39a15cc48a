//! Who runs next: what the lead asks of the one that decides it.

use std::sync::Arc;

use crate::permit::{Ticket, Wants};
use crate::{BackendId, Digest, Fault, Moment, Outcome, Refusal, TicketId, Usage};

/// What one that decides who runs next has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs there now.
    Start {
        /// Which.
        number: TicketId,
        /// Where, one of its candidates.
        backend: BackendId,
    },
    /// It will not run.
    Refuse {
        /// Which.
        number: TicketId,
        /// The reason.
        why: Refusal,
    },
}

/// Who runs next: the scheduling core of the fleet, which sees all slots as its own. The lead tells it everything in
/// order of time and asks afterwards.
pub trait Order {
    /// A ticket wants a slot. It arrived at `since`, which may lie before what was told earlier.
    fn arrive(&mut self, now: Moment, number: TicketId, since: Moment, ticket: &Ticket);
    /// It runs there and nobody was asked: it started on a parked permit, or by a hint, or was found running. It may
    /// have waited until now. `wants` is absent where it was known before.
    fn began(&mut self, now: Moment, number: TicketId, backend: BackendId, wants: Option<&Arc<Wants>>);
    /// It was started, and that came to nothing: the slot is free and it waits again in its place.
    fn back(&mut self, now: Moment, number: TicketId);
    /// The first content of a running one passed by.
    fn first_token(&mut self, now: Moment, number: TicketId);
    /// A running one ended, and its slot is free.
    fn finish(&mut self, now: Moment, number: TicketId, outcome: Outcome, usage: Usage);
    /// The attempt of a running one failed and its slot is free. It waits again, or will be refused.
    fn fail(&mut self, now: Moment, number: TicketId, fault: Fault, sent: bool);
    /// One that waits or was started is no more; nothing of it was sent.
    fn cancel(&mut self, now: Moment, number: TicketId);
    /// How many of a backend's slots take part from now on, those that are busy included.
    fn slots(&mut self, now: Moment, backend: BackendId, slots: u32);
    /// Appends what is decided by now, in order. Each ticket is started or refused once, unless it comes back.
    fn decide(&mut self, now: Moment, out: &mut Vec<Verdict>);
    /// What the request left behind that ended last, once, for those that do not lead.
    fn digest(&mut self) -> Option<Digest> {
        None
    }
    /// Who would be started next if slots of a backend came free, in order, at most `most`.
    fn front(&self, backend: BackendId, most: usize) -> Vec<TicketId>;
    /// Whether somebody waits for a backend, or a free slot of it is kept.
    fn contended(&self, backend: BackendId) -> bool;
    /// When it wants to be asked again if nothing happens before.
    fn next_wake(&self) -> Option<Moment>;
}

impl<O: Order + ?Sized> Order for Box<O> {
    fn arrive(&mut self, now: Moment, number: TicketId, since: Moment, ticket: &Ticket) {
        self.as_mut().arrive(now, number, since, ticket);
    }

    fn began(&mut self, now: Moment, number: TicketId, backend: BackendId, wants: Option<&Arc<Wants>>) {
        self.as_mut().began(now, number, backend, wants);
    }

    fn back(&mut self, now: Moment, number: TicketId) {
        self.as_mut().back(now, number);
    }

    fn first_token(&mut self, now: Moment, number: TicketId) {
        self.as_mut().first_token(now, number);
    }

    fn finish(&mut self, now: Moment, number: TicketId, outcome: Outcome, usage: Usage) {
        self.as_mut().finish(now, number, outcome, usage);
    }

    fn fail(&mut self, now: Moment, number: TicketId, fault: Fault, sent: bool) {
        self.as_mut().fail(now, number, fault, sent);
    }

    fn cancel(&mut self, now: Moment, number: TicketId) {
        self.as_mut().cancel(now, number);
    }

    fn slots(&mut self, now: Moment, backend: BackendId, slots: u32) {
        self.as_mut().slots(now, backend, slots);
    }

    fn decide(&mut self, now: Moment, out: &mut Vec<Verdict>) {
        self.as_mut().decide(now, out);
    }

    fn digest(&mut self) -> Option<Digest> {
        self.as_mut().digest()
    }

    fn front(&self, backend: BackendId, most: usize) -> Vec<TicketId> {
        self.as_ref().front(backend, most)
    }

    fn contended(&self, backend: BackendId) -> bool {
        self.as_ref().contended(backend)
    }

    fn next_wake(&self) -> Option<Moment> {
        self.as_ref().next_wake()
    }
}
