//! By which rule the requests of a route are placed, how urgent they are, and how they are shared out.

use serde::{Deserialize, Serialize};

/// By which rule a request is placed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Where its first token is expected soonest.
    CacheAffine,
    /// The highest priority.
    Priority,
    /// Each in turn.
    RoundRobin,
    /// Targets in turn, by weight.
    Weighted,
    /// The smallest share of busy slots.
    LeastBusy,
    /// The shortest time to the first token lately.
    LowestLatency,
    /// The fewest prompt tokens in work.
    TokenAware,
    /// Long prompts wait for who knows them.
    LongWaits,
}

/// How urgent a request is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Before all others.
    Interactive,
    /// What is not said to be anything else.
    Normal,
    /// After all others.
    Batch,
}

/// A target's weight is at most this.
pub const WEIGHT_MAX: u32 = 1000;
