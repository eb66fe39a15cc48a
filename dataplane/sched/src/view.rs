//! What the core looks like from outside, for status, metrics and tests.

use std::collections::BTreeMap;

use crate::{BackendId, Fault, Health, Span};

/// A copy of the books at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether this scheduler owns the slots.
    pub owner: bool,
    /// How many tickets wait.
    pub waiting: usize,
    /// How many requests run.
    pub running: usize,
    /// Whether it was told to close.
    pub closing: bool,
    /// Retries that the budget has now.
    pub retries: u64,
    /// The backends of the fleet, and those that left it with work on them.
    pub backends: BTreeMap<BackendId, BackendView>,
}

/// One backend in a `View`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendView {
    /// Whether it is in the fleet.
    pub present: bool,
    /// How many slots it has now; more may be taken for a while after the number went down.
    pub slots: u32,
    /// Slots with a request running.
    pub busy: u32,
    /// Slots of requests that were cut off, while the engine may still work on them.
    pub cooling: u32,
    /// Requests that run and have passed their first token.
    pub streaming: u32,
    /// Tickets that wait and that it may serve; one that several may serve counts at each.
    pub waiting: usize,
    /// It drains and nothing runs or cools on it any more.
    pub drained: bool,
    /// What probes say of it; a backend gets work when its breaker agrees.
    pub health: Health,
    /// What became of requests says about it.
    pub breaker: Breaker,
    /// How long a request holds a slot, as a moving average; zero until one did.
    pub service: Span,
    /// Requests of others that the server told of lately.
    pub others: u32,
}

/// A breaker at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Whether it lets requests through.
    pub state: BreakerState,
    /// What is left of the rest of an open breaker; zero in other states.
    pub rest: Span,
    /// What is left of the rest that the server asked for, whatever the state.
    pub limited: Span,
    /// The last thing that counted against the backend, also long ago.
    pub cause: Option<Cause>,
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// All.
    #[default]
    Closed,
    /// Nothing until the rest is over.
    Open,
    /// One request at a time until one is answered.
    Trial,
}

/// What counted against a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// An attempt failed before any content.
    Fault(Fault),
    /// A request ended with `Outcome::Failed`.
    Failed,
}

/// What a server was thought to have of a prompt when it started, in tokens as estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Those that the server was thought to have in its cache.
    pub cached: u32,
    /// All.
    pub prompt: u32,
}

/// What a waiting ticket has before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// How many older tickets compete with it for a backend.
    pub position: usize,
    /// When it gets a slot if all goes on as it does, from now; no promise.
    pub expected: Span,
}
