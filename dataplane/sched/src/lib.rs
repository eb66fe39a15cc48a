//! The scheduling core: events in, decisions out; no I/O, no clock, no threads, no dependencies.

mod breaker;
mod choose;
mod estimate;
mod event;
mod fleet;
mod ids;
mod pace;
mod queue;
mod retry;
mod rng;
mod scheduler;
mod slots;
mod time;
mod view;

pub use breaker::{
    BREAKER_FAILURES, BREAKER_FORGET, BREAKER_JITTER_PERCENT, BREAKER_REST_MAX, BREAKER_REST_MIN,
    BREAKER_WAIT_MAX, BREAKER_WINDOW, BREAKER_WINDOW_AGE, BREAKER_WINDOW_MIN, LIMITED_REST_MIN,
    REFUSED_REST_MAX,
};
pub use choose::INPUT_MARGIN_PERCENT;
pub use estimate::{ESTIMATES_MAX, PREFILL_TOKENS_MIN};
pub use event::{Arrival, CANDIDATES_MAX, Candidate, Class, Decision, Event, Fault, Outcome, Refusal, Usage};
pub use fleet::{Backend, Fleet, Health, SLOTS_MAX};
pub use ids::{BackendId, Key, ModelId, SlotId, TicketId};
pub use pace::{RETRY_AFTER_IDLE, RETRY_AFTER_MAX, RETRY_AFTER_MIN, SERVICE_GUESS};
pub use retry::{RETRIES_MAX, RETRIES_PER_SECOND, RETRY_PERCENT, TRIES_MAX, UNREACHED_WAIT_MAX};
pub use scheduler::Scheduler;
pub use time::{Moment, Span};
pub use view::{BackendView, Breaker, BreakerState, Cause, Outlook, View};
