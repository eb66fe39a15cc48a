//! A slot held by one request, and the wait for one: both give back what they hold when dropped.

use std::sync::Arc;

use sched::{Event, Outcome, Refusal, TicketId, Usage};
use tokio::sync::oneshot;

use super::{Dispatch, Failed, Grant, Verdict};
use crate::route::Found;

/// The wait for a slot. Dropped, it leaves the queue.
#[derive(Debug)]
pub struct Waiting {
    dispatch: Arc<Dispatch>,
    ticket: TicketId,
    state: State,
}

#[derive(Debug)]
enum State {
    Decided(Verdict),
    Queued(oneshot::Receiver<(Verdict, Option<Found>)>),
    Over,
}

impl Waiting {
    pub(super) fn new(
        dispatch: Arc<Dispatch>,
        ticket: TicketId,
        verdict: Result<oneshot::Receiver<(Verdict, Option<Found>)>, Verdict>,
    ) -> Self {
        let state = match verdict {
            Ok(receiver) => State::Queued(receiver),
            Err(verdict) => State::Decided(verdict),
        };
        Self { dispatch, ticket, state }
    }

    /// Its number in the core.
    #[must_use]
    pub fn ticket(&self) -> TicketId {
        self.ticket
    }

    /// Whether there is no answer yet.
    #[must_use]
    pub fn queued(&self) -> bool {
        matches!(self.state, State::Queued(_))
    }

    /// Waits for the core's answer, which comes by the ticket's deadline at the latest; with it comes what the request
    /// leads to where that changed meanwhile.
    ///
    /// # Errors
    /// Why the core refuses.
    pub async fn slot(mut self) -> Result<(Lease, Grant, Option<Found>), Refusal> {
        let none = (Err(Refusal::NoCandidate), None);
        let (verdict, found) = match &mut self.state {
            State::Decided(verdict) => (*verdict, None),
            // The sender lives in the core's table until it answers.
            State::Queued(receiver) => receiver.await.unwrap_or(none),
            State::Over => none,
        };
        self.state = State::Over;
        let grant = verdict?;
        let lease = Lease {
            dispatch: self.dispatch.clone(),
            ticket: self.ticket,
            outcome: Outcome::Unsent,
            usage: Usage::default(),
            prefill_tps: grant.prefill_tps,
            held: true,
        };
        Ok((lease, grant, found))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let held = match self.state {
            State::Queued(_) | State::Decided(Ok(_)) => true,
            State::Decided(Err(_)) | State::Over => false,
        };
        if held {
            self.dispatch.leave(self.ticket);
        }
    }
}

/// A slot held by one request. Dropped, it reports how the request ended.
#[derive(Debug)]
pub struct Lease {
    dispatch: Arc<Dispatch>,
    ticket: TicketId,
    /// What the core is told at the end. Begins as [`Outcome::Unsent`].
    pub outcome: Outcome,
    /// What the server reported.
    pub usage: Usage,
    prefill_tps: Option<u32>,
    held: bool,
}

impl Lease {
    /// At which the backend reads prompts to this model, in tokens a second, where measured.
    #[must_use]
    pub fn prefill_tps(&self) -> Option<u32> {
        self.prefill_tps
    }

    /// Gives the slot back and asks for another elsewhere.
    #[must_use]
    pub fn fail(mut self, failed: Failed) -> Waiting {
        self.held = false;
        self.dispatch.again(self.ticket, failed)
    }

    /// The first byte of content has come.
    pub fn first_token(&self) {
        self.dispatch.tell(Event::FirstToken { ticket: self.ticket });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        self.dispatch.tell(Event::Finish { ticket: self.ticket, outcome: self.outcome, usage: self.usage });
    }
}
