//! By which rule a request is placed, and the figures of the rules.

use crate::Span;

/// By which rule a request is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Where its first token is expected soonest, all told: the wait, the load of the model, what is not cached, and
    /// what that costs others. It may wait for a busy slot, and a slot may be kept for a conversation that will be back.
    #[default]
    CacheAffine,
    /// At once on the backend of the highest priority; among equals the larger share of free slots.
    Priority,
    /// At once on each in turn.
    RoundRobin,
    /// As `Priority`: whose turn it is, the candidates' `reserve` says.
    Weighted,
    /// At once where the share of busy slots is smallest.
    LeastBusy,
    /// At once where the time to the first token was shortest lately.
    LowestLatency,
    /// At once where the fewest prompt tokens are being worked on.
    TokenAware,
    /// A prompt of at least 15,000 tokens waits, without bound, for a backend that recently saw 50 of its first tokens;
    /// others start at once by priority.
    LongWaits,
}

/// The figures of `Policy::CacheAffine`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// What the prefill that a start makes another repeat weighs beside one's own.
    pub eviction_weight: f64,
    /// A conversation that comes back within this counts as evicted.
    pub return_horizon: Span,
    /// What slowing down others weighs.
    pub interference_weight: f64,
    /// A busy slot must be better by this part to be waited for.
    pub wait_margin: f64,
    /// The longest voluntary wait, in parts of what it saves; but no more than 10 s and a tenth of that.
    pub wait_budget: f64,
    /// The longest voluntary wait of all.
    pub wait_max: Span,
    /// How readily a slot is kept for a conversation that will be back: 0 never.
    pub hold: f64,
    /// The longest that it is kept.
    pub hold_max: Span,
    /// The longest that one conversation has a slot so.
    pub hold_tenure: Span,
    /// A request that has waited so long takes the first free slot.
    pub age_max: Span,
    /// A model that was loaded stays in memory for so many times the time of a load while others wait for theirs.
    pub collate: f64,
    /// Seconds that one step of a backend's priority is worth.
    pub priority_step: f64,
    /// Keys are served in order of the slot time they had, in steps of this; `None`: in order of arrival.
    pub fair_quantum: Option<Span>,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            eviction_weight: 2.0,
            return_horizon: Span::from_secs(60),
            interference_weight: 1.0,
            wait_margin: 0.2,
            wait_budget: 0.5,
            wait_max: Span::from_secs(40),
            hold: 1.0,
            hold_max: Span::from_secs(20),
            hold_tenure: Span::from_secs(300),
            age_max: Span::from_secs(60),
            collate: 4.0,
            priority_step: 0.25,
            fair_quantum: Some(Span::from_secs(45)),
        }
    }
}
