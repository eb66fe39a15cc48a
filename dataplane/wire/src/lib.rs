//! Dialects: bytes in, values out; no I/O.

pub mod dialect;
pub mod edits;
pub mod estimate;
pub mod fault;
pub mod first;
pub mod frame;
pub mod keep;
pub mod list;
pub mod pattern;
pub mod prefix;
pub mod read;
mod scan;
pub mod strip;
pub mod tap;
pub mod target;

pub use dialect::{Dialect, Operation};
pub use edits::Edits;
pub use fault::{Fault, relay_error, upstream_error};
pub use first::{First, first_element};
pub use keep::keep_alive;
pub use list::{ListStyle, Listed};
pub use pattern::{Pattern, PatternFault};
pub use prefix::{BLOCKS_MAX, Block, blocks};
pub use read::{Ask, ReadFault, UsageAsk, read, read_text, text};
pub use strip::UsageStrip;
pub use tap::{Report, Tap, Timing, Usage};
pub use target::{Framing, Target, framing, target};
