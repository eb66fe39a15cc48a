//! Who asks for what, and when.

mod agentic;
mod burst;
mod family;
mod trace;

use std::sync::Arc;

pub use agentic::{Agentic, Role};
pub use burst::Burst;
pub use family::Families;
pub use trace::{Azure, Mooncake, TraceFault};

use crate::cache::{Segment, Sequence};

/// One request, with the answer that it will get.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose it is, counted from zero.
    pub key: usize,
    /// Who waits for it: a source names its next request by this.
    pub agent: usize,
    /// Which of the models.
    pub model: u8,
    /// The prompt.
    pub prompt: Sequence,
    /// Which segments of the prompt are answers of the model.
    pub answers: Arc<[usize]>,
    /// The prompt and the answer to it.
    pub whole: Sequence,
    /// The conversation that it belongs to.
    pub session: u64,
    /// The first words of the user in it.
    pub opening: u64,
    /// When it arrives, in seconds.
    pub at: f64,
    /// Whether the answer ends with a tool call.
    pub tool: bool,
}

impl Request {
    /// The length of the prompt in tokens.
    #[must_use]
    pub fn input(&self) -> u32 {
        self.prompt.iter().map(|segment| segment.tokens).sum()
    }

    /// The length of the answer in tokens.
    #[must_use]
    pub fn output(&self) -> u32 {
        self.whole.last().map_or(0, |answer: &Segment| answer.tokens)
    }
}

/// Where requests come from.
pub trait Source {
    /// Those that are known from the start.
    fn initial(&mut self) -> Vec<Request>;

    /// The agent's request is answered: what follows from it, at `now` or later.
    fn next(&mut self, agent: usize, now: f64) -> Vec<Request>;

    /// How many keys there are.
    fn keys(&self) -> usize;
}
