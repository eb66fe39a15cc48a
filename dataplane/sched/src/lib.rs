//! The scheduling core: events in, decisions out; no I/O, no clock, no threads, no dependencies.

mod affinity;
mod breaker;
mod chain;
mod choose;
mod digest;
mod estimate;
mod event;
mod explain;
mod fair;
mod fleet;
mod front;
mod ids;
mod known;
mod latest;
pub mod lead;
mod lengths;
mod memory;
pub mod owner;
mod pace;
pub mod permit;
mod place;
mod policy;
mod queue;
mod recent;
mod retry;
mod returns;
mod rng;
mod room;
mod scheduler;
mod share;
mod slots;
mod sorted;
mod status;
mod taste;
mod time;
mod timeline;
mod view;
mod weigh;

pub use affinity::{Cache, RECORDS_MAX};
pub use breaker::{
    BREAKER_FAILURES, BREAKER_FORGET, BREAKER_JITTER_PERCENT, BREAKER_REST_MAX, BREAKER_REST_MIN,
    BREAKER_WAIT_MAX, BREAKER_WINDOW, BREAKER_WINDOW_AGE, BREAKER_WINDOW_MIN, LIMITED_REST_MIN,
    REFUSED_REST_MAX,
};
pub use chain::{BLOCKS_MAX, Block, Chain};
pub use choose::INPUT_MARGIN_PERCENT;
pub use digest::{Digest, MARKS_MAX, Mark, TOLD_KEPT, TOLD_MAX};
pub use estimate::{DECODE_TOKENS_MIN, ESTIMATES_MAX, LOAD_GUESS, PREFILL_TOKENS_MIN};
pub use event::{
    Arrival, CANDIDATES_MAX, Candidate, Class, Decision, Event, Fault, Held, Outcome, Refusal, Usage,
};
pub use explain::{Bar, Expected, LOOKS_MAX, Look, ROWS_MAX, Reason, Row, Seat, Story, Terms, Verdict};
pub use fair::KEYS_MAX;
pub use fleet::{Backend, Fleet, Health, SLOTS_MAX};
pub use ids::{Asked, BackendId, Key, ModelId, SlotId, TicketId};
pub use pace::{RETRY_AFTER_IDLE, RETRY_AFTER_MAX, RETRY_AFTER_MIN, SERVICE_GUESS};
pub use place::WINDOW;
pub use policy::{Policy, Tuning};
pub use recent::LONG_TOKENS;
pub use retry::{RETRIES_MAX, RETRIES_PER_SECOND, RETRY_PERCENT, TRIES_MAX, UNREACHED_WAIT_MAX};
pub use returns::End;
pub use room::TOLD_AGE_MAX;
pub use scheduler::Scheduler;
pub use share::Step;
pub use time::{Moment, Span};
pub use view::{BackendView, Breaker, BreakerState, Cause, Outlook, Prefix, View};
