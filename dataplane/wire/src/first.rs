//! Whether an answer with status 200 starts with an error.

use crate::dialect::Operation;
use crate::target::Framing;

/// What the first element of an answer is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum First {
    /// Not known yet.
    More,
    /// Anything but an error.
    Content,
    /// An error that must become an HTTP error.
    Error {
        /// The status that fits it.
        status: u16,
        /// What the server says.
        message: String,
    },
}

/// Judges the first element from the bytes that have come so far.
pub fn first_element(operation: Operation, framing: Framing, so_far: &[u8]) -> First {
    let _ = (operation, framing);
    if so_far.is_empty() { First::More } else { First::Content }
}
