//! A slot held by one request, and the wait for one: both give back what they hold when dropped.

use std::sync::Arc;

use sched::{Event, Outcome, Prefix, Refusal, Story, TicketId, Usage};
use tokio::sync::oneshot;

use super::{Dispatch, Failed, Grant, Verdict, Word};
use crate::route::Found;

/// The end of a wait for a slot.
#[derive(Debug)]
pub struct Answer {
    /// The slot, with what the request leads to where that changed meanwhile; or why the core refuses.
    pub said: Result<(Lease, Grant, Option<Box<Found>>), Refusal>,
    /// What led to it, where anything was weighed.
    pub story: Option<Box<Story>>,
}

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
    Queued(oneshot::Receiver<Word>),
    Over,
}

impl Waiting {
    pub(super) fn new(
        dispatch: Arc<Dispatch>,
        ticket: TicketId,
        verdict: Result<oneshot::Receiver<Word>, Verdict>,
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

    /// Waits for the core's answer, which comes by the ticket's deadline at the latest.
    pub async fn slot(mut self) -> Answer {
        let none = || (Verdict { said: Err(Refusal::NoCandidate), story: None }, None);
        if let State::Queued(receiver) = &mut self.state {
            // The sender lives in the core's table until it answers.
            let (verdict, found) = receiver.await.unwrap_or_else(|_| none());
            self.state = State::Over;
            return self.answer(verdict, found);
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Decided(verdict) => self.answer(verdict, None),
            State::Queued(_) | State::Over => self.answer(none().0, None),
        }
    }

    fn answer(&self, verdict: Verdict, found: Option<Box<Found>>) -> Answer {
        let said = verdict.said.map(|grant| {
            let lease = Lease {
                dispatch: self.dispatch.clone(),
                ticket: self.ticket,
                outcome: Outcome::Unsent,
                usage: Usage::default(),
                prefill_tps: grant.prefill_tps,
                prefix: grant.prefix,
                held: true,
            };
            (lease, grant, found)
        });
        Answer { said, story: verdict.story }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let held = match &self.state {
            State::Queued(_) | State::Decided(Verdict { said: Ok(_), .. }) => true,
            State::Decided(Verdict { said: Err(_), .. }) | State::Over => false,
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
    prefix: Option<Prefix>,
    held: bool,
}

impl Lease {
    /// At which the backend reads prompts to this model, in tokens a second, where measured.
    #[must_use]
    pub fn prefill_tps(&self) -> Option<u32> {
        self.prefill_tps
    }

    /// What the backend is thought to have of the prompt, where that is compared.
    #[must_use]
    pub fn prefix(&self) -> Option<Prefix> {
        self.prefix
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
