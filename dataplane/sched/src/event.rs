//! What the core is told and what it answers.

use std::sync::Arc;

use crate::chain::Chain;
use crate::digest::Digest;
use crate::policy::Policy;
use crate::returns::End;
use crate::{Asked, BackendId, Fleet, Key, ModelId, Moment, SlotId, Span, TicketId};

/// The most candidates of one arrival that are looked at; those behind it are ignored.
pub const CANDIDATES_MAX: usize = 1024;

/// How urgent a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Someone sits in front of it.
    Interactive,
    /// What is not said to be anything else.
    #[default]
    Normal,
    /// It may wait for all others.
    Batch,
}

impl Class {
    /// The one that is served before it.
    pub(crate) fn above(self) -> Class {
        match self {
            Class::Interactive | Class::Normal => Class::Interactive,
            Class::Batch => Class::Normal,
        }
    }
}

/// One way to serve a request: this model on that backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub backend: BackendId,
    /// Under which name.
    pub model: ModelId,
    /// It is taken only while none of a lower number could take the request: each of those is down, rests, is on trial,
    /// was tried, drains or takes no prompt so long. That those are busy is no reason.
    pub reserve: u8,
}

/// A request that wants a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its number, not used before. While a ticket waits or runs, a second arrival of it is ignored.
    pub ticket: TicketId,
    /// Whose it is.
    pub key: Key,
    /// What for: answers of a key are as long as others of the same key to the same.
    pub asked: Asked,
    /// What its key's share of the slots weighs beside that of others; 0 counts as 1.
    pub weight: u16,
    /// How urgent it is.
    pub class: Class,
    /// The estimated length of the prompt in tokens.
    pub prompt_tokens: u32,
    /// The prompt in blocks, for what servers hold of it; may be empty.
    pub prompt: Chain,
    /// By which rule it is placed.
    pub policy: Policy,
    /// Where it may run, at most `CANDIDATES_MAX`; of several with the same backend the first is taken.
    pub candidates: Box<[Candidate]>,
    /// When waiting ends. A ticket that finds a free slot on arrival starts whatever the deadline.
    pub deadline: Moment,
}

/// How a started request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered to the end; the slot is free.
    Done,
    /// The server or the way to it failed; the engine may still work on it.
    Failed,
    /// The client left or the product gave up; the engine may still work on it.
    Aborted,
    /// Nothing of it reached the server; the slot is free.
    Unsent,
}

/// What the server said of a request, in tokens; `None` where it did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens that came out of its cache.
    pub cached: Option<u32>,
    /// Prompt tokens in all.
    pub prompt: Option<u32>,
    /// Generated tokens.
    pub output: Option<u32>,
    /// How long it read the prompt.
    pub prefill: Option<Span>,
    /// How the answer ended.
    pub end: End,
}

/// How an attempt failed before any content reached the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No connection came about.
    Connect,
    /// Nobody listens there now, as when a server restarts. Told with `sent: false` it is no try of the backend: the
    /// request may come back to it, for `UNREACHED_WAIT_MAX` from its first such failure where nothing else is up.
    Refused,
    /// The connection broke.
    Reset,
    /// Nothing came in time.
    Timeout,
    /// No content came in time, but the server gave signs of life; no failure of it.
    Slow,
    /// The status said that the server failed.
    Status,
    /// The server asked to be left alone for a while; no failure of it.
    Limited {
        /// For how long, between `LIMITED_REST_MIN` and `BREAKER_REST_MAX`; `None` counts as the former.
        retry_after: Option<Span>,
    },
    /// The answer began with an error, made no sense, or was not as long as it said.
    Answer,
}

/// What happened. An event that names an unknown ticket or backend is ignored.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request came in.
    Arrive(Arrival),
    /// As `Arrive`, of one that has waited elsewhere: it stands before those who came later.
    Waited {
        /// The request.
        arrival: Box<Arrival>,
        /// When it came.
        since: Moment,
        /// Backends that failed it, oldest first; of more than `TRIES_MAX` the last is one of them.
        tried: Vec<BackendId>,
    },
    /// A request runs there, and nobody was asked. It is counted whether a slot was free or not: until others end more may
    /// run than there are slots.
    Began {
        /// Which one. One that waits does so no longer, and one that runs elsewhere runs there instead.
        ticket: TicketId,
        /// Where.
        backend: BackendId,
        /// Of one that is not known. Without it, and where the backend is none of its candidates, the slot is taken
        /// until it ends, nothing is learned from it, and should it fail it is refused.
        arrival: Option<Box<Arrival>>,
    },
    /// A started request did not start: its slot is free, and it waits again in its old place. Nothing is learned from it.
    /// Nobody starts before the next event, or it would start there again.
    Back {
        /// Which one.
        ticket: TicketId,
    },
    /// How many slots of a backend take part, until this is told anew or `Recall`.
    Slots {
        /// Which one.
        backend: BackendId,
        /// So many; `None`: as many as the fleet says.
        slots: Option<u32>,
    },
    /// A request ended at another data plane: what is known from it there is known here.
    Learn(Box<Digest>),
    /// Whether others wait until engines have stopped before they say `Finish` or `Fail`, so that no slot needs to cool.
    Share(bool),
    /// Who waits and what runs and cools is not to be decided here any more: all is forgotten without a word, and with it what
    /// `Slots` said. What was learned stays. Ask `Scheduler::held` before.
    Recall,
    /// The first content of a started request passed by.
    FirstToken {
        /// Which one.
        ticket: TicketId,
    },
    /// The attempt of a started request failed before any content reached the client. The answer is another
    /// `Start`, now or later and on a backend that it was not tried on, or a `Refuse`.
    Fail {
        /// Which one.
        ticket: TicketId,
        /// How.
        fault: Fault,
        /// Whether the engine may work on it, so that the slot cools.
        sent: bool,
    },
    /// A started request ended.
    Finish {
        /// Which one.
        ticket: TicketId,
        /// How.
        outcome: Outcome,
        /// What it cost.
        usage: Usage,
    },
    /// Nobody wants the answer any more: a waiting ticket leaves the queue without a decision, a started one
    /// ends as `Outcome::Unsent`. Say `Finish` instead once anything was sent.
    Cancel {
        /// Which one.
        ticket: TicketId,
    },
    /// The engine was looked at.
    Observe {
        /// Which one.
        backend: BackendId,
        /// It runs nothing of what was cut off: its cooling slots are free.
        idle: bool,
    },
    /// A server said how many requests it has, at work or waiting, of whomever. What others have there counts as load for
    /// `TOLD_AGE_MAX`.
    Told {
        /// Which one.
        backend: BackendId,
        /// How many.
        requests: u32,
        /// How long ago.
        age: Span,
    },
    /// A new picture of the fleet, in force at once.
    Adopt(Arc<Fleet>),
    /// As `Adopt`, with new candidates for tickets: from now on they are those of the arrival. What runs is not touched;
    /// should its attempt fail, it may go there.
    Reroute {
        /// The fleet.
        fleet: Arc<Fleet>,
        /// Each ticket once.
        offers: Vec<(TicketId, Box<[Candidate]>)>,
    },
    /// The process is about to stop: nothing starts any more, and what runs goes on.
    Close,
    /// The moment that `next_wake` named has come.
    Wake,
}

/// The slots that are not free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Who runs where.
    pub runs: Vec<(TicketId, BackendId, SlotId)>,
    /// What cools, and until when.
    pub cooling: Vec<(Moment, BackendId, SlotId)>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send it now. The slot is taken until its `Finish`, `Fail` or `Cancel`.
    Start {
        /// Which request.
        ticket: TicketId,
        /// Index into the candidates of the arrival, or of the latest `Reroute` before that names the ticket.
        candidate: u16,
        /// The candidate's backend.
        backend: BackendId,
        /// The slot, below the backend's number of slots.
        slot: SlotId,
    },
    /// Tell the client no. The ticket is forgotten.
    Refuse {
        /// Which request.
        ticket: TicketId,
        /// The reason.
        why: Refusal,
    },
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No slot is free and as many wait as may.
    QueueFull {
        /// How many wait.
        waiting: usize,
        /// When a newcomer of its kind would get a slot, between `RETRY_AFTER_MIN` and `RETRY_AFTER_MAX`.
        retry_after: Span,
    },
    /// No slot came free in time.
    Deadline {
        /// How long ago it arrived.
        waited: Span,
        /// As of `QueueFull`.
        retry_after: Span,
    },
    /// The prompt fits no candidate.
    TooLong {
        /// Its estimated length in tokens, without the margin.
        estimate: u32,
        /// The largest limit among the candidates.
        limit: u32,
    },
    /// None of the candidates is in the fleet.
    NoCandidate,
    /// On arrival all candidates that could take it are down.
    Unhealthy,
    /// All candidates that could take it are draining.
    Draining,
    /// All candidates that could take it and are up rest, for too long to wait for.
    Resting {
        /// As of `QueueFull`.
        retry_after: Span,
    },
    /// Its attempts failed, and no other is to be made.
    Exhausted {
        /// How many backends it was tried on.
        tried: usize,
        /// Whether another one was there and the budget of retries was spent.
        budget: bool,
    },
    /// This scheduler does not own the slots.
    Spare,
    /// The process is about to stop.
    Closing {
        /// As of `QueueFull`.
        retry_after: Span,
    },
}
