//! Why a data plane may not follow, or a change of the registry is not made.

use super::PLANES_MAX;

/// Why a change of the registry is not made. Each is a sentence for the operator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denial {
    /// No such row.
    #[error("data plane {0:?} does not exist")]
    Missing(String),
    /// The latest incarnation is another.
    #[error("data plane {plane} is at incarnation {latest}, not {incarnation}")]
    Other {
        /// Of which.
        plane: String,
        /// The one that was meant.
        incarnation: u64,
        /// The latest.
        latest: u64,
    },
    /// It is proven dead.
    #[error("incarnation {incarnation} of data plane {plane} was declared dead: start it again")]
    Dead {
        /// Of which.
        plane: String,
        /// The one that was meant.
        incarnation: u64,
    },
    /// Two processes say that they are the same incarnation.
    #[error(
        "another process is incarnation {incarnation} of data plane {plane}: its state directory was copied; give each \
         one of its own"
    )]
    Twice {
        /// Of which.
        plane: String,
        /// Which one.
        incarnation: u64,
    },
    /// It cannot prove that the earlier incarnation is dead.
    #[error(
        "data plane {plane} holds no lock of its state directory: incarnation {earlier} is not proven dead"
    )]
    Unlocked {
        /// Of which.
        plane: String,
        /// The one before.
        earlier: u64,
    },
    /// It may be there again at any time, and nobody would know.
    #[error(
        "data plane {plane} was the only one: started again it goes on by itself, also without a control plane. Start it, \
         or give your word by `llmctl dataplane fence {plane}` that it will not be"
    )]
    Alone {
        /// Of which.
        plane: String,
    },
    /// No room.
    #[error(
        "{PLANES_MAX} data planes are registered: those that are gone for good are forgotten a day after \
         `llmctl dataplane fence`"
    )]
    Full,
    /// Another appointment came first.
    #[error("the term is {current}, not {after}")]
    Stale {
        /// The term that was expected.
        after: u64,
        /// The term now.
        current: u64,
    },
}
