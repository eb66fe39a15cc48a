//! One line of a tape.

use std::collections::BTreeMap;

use sched::{Decision, Event, Fleet, Moment};
use serde::{Deserialize, Serialize};

use crate::form::{Said, Told, Whole};

/// The version of what a tape looks like; another one is refused.
pub const FORMAT: u32 = 1;

/// One line: a tape begins with `Head`, and ends with `End` unless its writer was killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Head(Head),
    /// Names of backends by number, of this moment on.
    Names(BTreeMap<u32, String>),
    Step(Step),
    End(End),
}

/// How the core was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) format: u32,
    /// Of the software that recorded it.
    pub(crate) software: String,
    pub(crate) seed: u64,
    pub(crate) fleet: Whole,
}

/// An event and what the core said to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Microseconds since the start of the core.
    pub(crate) at: u64,
    pub(crate) event: Told,
    pub(crate) said: Vec<Said>,
}

impl Step {
    pub(crate) fn new(at: Moment, event: Event, said: &[Decision]) -> Step {
        Step { at: at.0, event: Told(event), said: said.iter().cloned().map(Said).collect() }
    }
}

/// Why a tape ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The process stopped.
    Stopped,
    /// It has as many bytes as it may have.
    Full,
    /// It could not be written as fast as things happened.
    Behind,
    /// A record had more bytes than one may have.
    TooLong,
}

impl Head {
    pub(crate) fn new(seed: u64, fleet: Fleet) -> Head {
        let software = env!("CARGO_PKG_VERSION").to_owned();
        Head { format: FORMAT, software, seed, fleet: Whole(fleet) }
    }
}
