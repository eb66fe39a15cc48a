//! A simulated model server: what real ones send, on demand, at a known pace and with known faults.
//!
//! Tokens are counted as one for [`TOKEN_BYTES`] bytes of text. An answer is made of words that
//! follow from the prompt. A request whose last turn is the user's, has tools and says "tool" is
//! answered with a call of its first tool; its arguments hold what the tool's schema requires. One
//! choice is given whatever `n` is, and stop sequences are not looked for.

mod admin;
mod answer;
mod ask;
mod date;
mod dialect;
mod embed;
mod engine;
mod fault;
mod flow;
mod line;
mod listen;
mod memory;
mod pages;
mod route;
mod server;
mod settings;
mod sim;
mod spoil;
mod stats;
mod text;
mod trouble;
mod work;

pub use fault::{Fault, Scope};
pub use listen::BODY_BYTES_MAX;
pub use settings::{Kind, Settings, UnknownKind};
pub use sim::{Sim, start};
pub use stats::{BODY_BYTES_KEPT, OTHERS_KEPT, Seen, Stats, now_us};
pub use text::{DIMENSIONS, DIMENSIONS_MAX, TOKEN_BYTES};
