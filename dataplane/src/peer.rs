//! What data planes say to each other about slots: the two ends of a stream, and its words as the core and the wire have
//! them.

use std::time::Duration;

use sched::{
    lead::StreamId,
    permit::{Down, PlaneId, Up},
};

pub mod address;
mod join;
pub mod knock;
pub mod link;
pub mod listen;
mod names;
mod outbox;
pub mod parse;
pub mod render;
mod silence;
#[cfg(test)]
mod tests;
mod words;

pub use names::{NAME_BYTES_MAX, NAMES_MAX, Names};
pub use outbox::{OUTBOX_MAX, Outbox};
pub use silence::{LeadSeen, SILENT_AFTER};

/// Both ends of a connection test it when nothing came for so long. A stream ends half a second after the other end
/// stopped: that bounds what an owner or a lead that hangs takes with it.
const PING_EVERY: Duration = Duration::from_millis(200);
/// The test is answered within this time.
const PING_WITHIN: Duration = Duration::from_millis(250);
/// A message at most: a report of all that one data plane can hold, with what runs there.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What streams tell the one who plays both ends of the protocol. Every call is short and never waits.
pub trait Ends: Send + Sync + 'static {
    /// The stream that was asked for with this number is there.
    fn connected(&self, attempt: u64, out: Outbox<Up>);
    /// It is gone, or did not come about.
    fn lost(&self, attempt: u64);
    /// The lead says something by it.
    fn heard(&self, attempt: u64, message: Down);
    /// Another data plane opened a stream; `None`: this one does not lead. The first that is told by it is its hello.
    fn joined(&self, out: Outbox<Down>) -> Option<StreamId>;
    /// Another data plane says something.
    fn told(&self, stream: StreamId, message: Up);
    /// Its stream is gone. Said once for each that joined.
    fn left(&self, stream: StreamId);
}

/// What is asked of the streams. Every call is short and never waits.
pub trait Links: Send + Sync + 'static {
    /// Opens a stream to this data plane, at the address that the last picture gives for it; an earlier one is given up.
    /// Answered by [`Ends::connected`], and by [`Ends::lost`] with the number once it is gone or did not come about, which
    /// is said after a wait that grows with failures (50 ms to 1 s).
    fn connect(&self, lead: PlaneId, attempt: u64);
    /// Ends the stream, if there is one.
    fn disconnect(&self);
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
