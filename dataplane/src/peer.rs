//! What data planes say to each other about slots, between the core's own form and the wire's.

use std::sync::Arc;

use sched::BackendId;
use sched::permit::PlaneId;

pub mod parse;
pub mod render;
#[cfg(test)]
mod tests;
mod words;

/// The core knows backends and data planes by numbers that hold within one process; on the wire they have their names.
pub trait Names {
    /// The number of a backend, which is given when it has none; `None`: there are too many.
    fn backend(&mut self, name: &str) -> Option<BackendId>;
    /// The same of a data plane.
    fn plane(&mut self, name: &str) -> Option<PlaneId>;
    /// The name of a backend.
    fn backend_name(&self, id: BackendId) -> Option<Arc<str>>;
    /// The name of a data plane.
    fn plane_name(&self, id: PlaneId) -> Option<Arc<str>>;
}

/// A message that cannot be taken in or sent; its stream is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field that the message is nothing without is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// More of something than any sender sends.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A name that has no number, or a number that has no name.
    #[error("{0} is not known")]
    Unknown(&'static str),
}
