//! Tapes: every event that the core was told and what it said, as lines of JSON; recorded, read and replayed.
//!
//! A tape holds no text of a prompt, an answer or a credential: prompts are chained hashes under the salt of the
//! installation, keys are hashes under a secret of the process. Names of backends are in it.

mod compare;
mod form;
mod line;
mod read;
mod record;
mod replay;
mod rule;

pub use compare::{Account, Compared, compare};
pub use line::{End, FORMAT};
pub use read::{RECORD_BYTES_MAX, Reader, TapeError};
pub use record::{BYTES_MAX, RECORDS_WAITING_MAX, Recorder};
pub use replay::{Difference, Replayed, replay};
pub use rule::{Rule, RuleError};
