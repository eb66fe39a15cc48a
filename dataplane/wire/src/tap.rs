//! Reads passing answer bytes, never changes them.

use crate::dialect::Operation;
use crate::target::Framing;

/// What the prompt and the answer cost, in tokens; `None` is "not told", which is not 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Usage {
    /// The whole prompt, cached tokens included.
    pub prompt: Option<u64>,
    /// The part of it that came from a cache.
    pub cached: Option<u64>,
    /// The whole answer, reasoning included.
    pub output: Option<u64>,
    /// The part of it that is reasoning.
    pub reasoning: Option<u64>,
}

/// What the server says about its own time, in microseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Reading the prompt.
    pub prefill_us: Option<u64>,
    /// Tokens read in that time: the uncached ones alone.
    pub prefill_tokens: Option<u64>,
    /// Writing the answer.
    pub decode_us: Option<u64>,
    /// Loading the model.
    pub load_us: Option<u64>,
}

/// What has been seen of an answer so far.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Report {
    /// Real content has come: neither a role alone, nor a ping, nor an empty delta. Of an answer in one piece:
    /// its first byte.
    pub content: bool,
    /// The dialect's last element, or a whole JSON value, has been seen.
    pub complete: bool,
    /// The message of an error in the stream.
    pub error: Option<String>,
    /// Why the answer ended, as the server says it.
    pub finish: Option<String>,
    /// Tokens.
    pub usage: Usage,
    /// Times.
    pub timing: Timing,
}

/// Reads one answer.
#[derive(Debug)]
pub struct Tap {
    report: Report,
}

impl Tap {
    /// A tap for one answer.
    pub fn new(operation: Operation, framing: Framing) -> Self {
        let _ = (operation, framing);
        Tap { report: Report::default() }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.report.content |= !chunk.is_empty();
    }

    /// The body has ended.
    pub fn finish(&mut self) {}

    /// What has been seen so far.
    pub fn report(&self) -> &Report {
        &self.report
    }
}
