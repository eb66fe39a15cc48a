//! What the core looks like from outside, for status, metrics and tests.

use std::collections::BTreeMap;

use crate::BackendId;

/// A copy of the books at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether this scheduler owns the slots.
    pub owner: bool,
    /// How many tickets wait.
    pub waiting: usize,
    /// How many requests run.
    pub running: usize,
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
}
