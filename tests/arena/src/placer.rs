//! Placing requests with what a router can really see, and the way from there into the world.

mod blind;
mod render;

pub use blind::Blind;
pub use render::blocks;

/// A stretch of a prompt, named by everything up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Equal numbers are an equal prompt from the first token to the end of the block.
    pub hash: u64,
    /// The length of the block alone.
    pub tokens: u32,
    /// Whether it ends an answer of the model.
    pub own: bool,
}

/// A request as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its number, not used before.
    pub ticket: u64,
    /// Whose it is.
    pub key: usize,
    /// Which model it asks for.
    pub model: u8,
    /// The estimated length of its prompt in tokens.
    pub prompt_tokens: u32,
    /// The prompt, from its beginning.
    pub blocks: &'a [Block],
    /// The servers that have the model, by number.
    pub backends: &'a [usize],
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It calls a tool.
    Tool,
    /// It is complete.
    Stop,
}

/// What an answer told; `None` where servers of its kind do not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Tokens of the prompt that were cached.
    pub cached: Option<u32>,
    /// Tokens of the prompt in all.
    pub prompt: Option<u32>,
    /// Tokens generated.
    pub output: Option<u32>,
    /// Seconds spent on loading the model.
    pub load_s: Option<f64>,
    /// Seconds spent on reading the prompt, from when reading began.
    pub prefill_s: Option<f64>,
    /// Seconds spent on generating.
    pub decode_s: Option<f64>,
    /// Why it ended.
    pub finish: Option<Finish>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Send it now.
    Start {
        /// Which request.
        ticket: u64,
        /// Where, by number.
        backend: usize,
        /// The slot that it takes there until its `finish`; the server has its own mind about which cache it uses.
        slot: u32,
    },
    /// Turn it away.
    Refuse {
        /// Which request.
        ticket: u64,
    },
}

/// Whoever places requests without seeing more than a router does. Times are in seconds and never go back.
pub trait Placer {
    /// A request came in.
    fn arrive(&mut self, now: f64, seen: &Seen<'_>, out: &mut Vec<Place>);

    /// The first token of a started request passed by.
    fn first_token(&mut self, now: f64, ticket: u64, out: &mut Vec<Place>);

    /// A started request was answered.
    fn finish(&mut self, now: f64, ticket: u64, report: &Report, out: &mut Vec<Place>);

    /// The time that `next_wake` named has come.
    fn wake(&mut self, now: f64, out: &mut Vec<Place>);

    /// When `wake` is wanted if nothing happens before.
    fn next_wake(&self) -> Option<f64>;
}
