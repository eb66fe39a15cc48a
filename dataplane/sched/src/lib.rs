//! The scheduling core: events in, decisions out; no I/O, no clock, no threads, no dependencies.

mod choose;
mod event;
mod fleet;
mod ids;
mod queue;
mod rng;
mod scheduler;
mod slots;
mod time;
mod view;

pub use choose::INPUT_MARGIN_PERCENT;
pub use event::{Arrival, CANDIDATES_MAX, Candidate, Class, Decision, Event, Outcome, Refusal, Usage};
pub use fleet::{Backend, Fleet, SLOTS_MAX};
pub use ids::{BackendId, Key, ModelId, SlotId, TicketId};
pub use scheduler::Scheduler;
pub use time::{Moment, Span};
pub use view::{BackendView, View};
