//! Rules that others place requests by, to be measured against.

mod queue;

pub use queue::{Pick, Queue};
