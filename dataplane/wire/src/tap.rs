//! Reads passing answer bytes, never changes them.

mod anthropic;
pub(crate) mod error;
mod gemini;
mod ollama;
mod openai;
mod responses;
mod usage;
mod whole;

use crate::dialect::{Dialect, Operation};
use crate::frame::{Frames, element_json, event};
use crate::scan::{Bad, Scan};
use crate::target::Framing;
use whole::Whole;

/// The last event of OpenAI's streams.
const DONE: &str = "[DONE]";

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
    /// The id that the server gave to the answer, in the responses dialect; its clients refuse an end that
    /// names another ([`Fault::in_stream`](crate::Fault::in_stream)).
    pub id: Option<String>,
    /// The message of an error in the stream.
    pub error: Option<String>,
    /// Why the answer ended, as the server says it.
    pub finish: Option<String>,
    /// It calls a tool: a program goes on with the conversation, and soon.
    pub calls: bool,
    /// Tokens.
    pub usage: Usage,
    /// Times.
    pub timing: Timing,
}

/// Reads one answer.
#[derive(Debug)]
pub struct Tap {
    framing: Framing,
    dialect: Dialect,
    /// How the answer is really cut; known from its first byte on.
    cut: Option<Cut>,
    state: State,
}

#[derive(Debug)]
enum Cut {
    Events(Frames),
    Lines(Frames),
    Elements(Frames),
    Whole(Whole),
}

/// What the readers of the dialects write to.
#[derive(Debug, Default)]
struct State {
    report: Report,
    /// An element of a stream was no JSON.
    malformed: bool,
    choices: u32,
    /// Choices that have told why they ended, a bit each.
    finished: u128,
    anthropic: anthropic::Parts,
}

impl State {
    fn finish(&mut self, reason: String) {
        self.report.calls |= matches!(reason.as_str(), "tool_calls" | "function_call" | "tool_use");
        self.report.finish = Some(reason);
    }

    fn fail(&mut self, value: &str) {
        let mut told = error::Told::default();
        told.read(value);
        if told.is_error() {
            self.report.error = Some(told.message());
        }
    }
}

impl Tap {
    /// A tap for one answer.
    pub fn new(operation: Operation, framing: Framing) -> Self {
        let state = State { choices: 1, ..State::default() };
        Tap { framing, dialect: operation.dialect(), cut: None, state }
    }

    /// How many answers were asked for at once ([`Ask::choices`](crate::Ask)): without `[DONE]` a stream is
    /// complete when so many have told why they ended.
    pub fn expect_choices(&mut self, choices: u32) {
        self.state.choices = choices.max(1);
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        if self.cut.is_none() {
            // Blanks before everything are nothing, in a chunk of their own or not.
            chunk = chunk.trim_ascii_start();
            let Some(first) = chunk.first() else { return };
            self.cut = Some(self.cut_for(*first));
        }
        let dialect = self.dialect;
        let state = &mut self.state;
        match self.cut.as_mut() {
            Some(Cut::Events(frames)) => frames.feed(chunk, |block| state.event(dialect, block)),
            Some(Cut::Lines(frames)) => frames.feed(chunk, |line| state.json(dialect, line)),
            Some(Cut::Elements(frames)) => {
                frames.feed(chunk, |element| state.json(dialect, element_json(element)));
            }
            Some(Cut::Whole(whole)) => {
                state.report.content = true;
                whole.feed(chunk, |key, value| state.leaf(dialect, key, value));
                state.report.complete = whole.complete();
            }
            None => {}
        }
    }

    /// The body has ended.
    pub fn finish(&mut self) {
        let dialect = self.dialect;
        let state = &mut self.state;
        match self.cut.as_mut() {
            Some(Cut::Events(frames)) => frames.finish(|block| {
                if event(block).is_some_and(|event| is_whole(&event.data)) {
                    state.event(dialect, block);
                }
            }),
            Some(Cut::Lines(frames)) => frames.finish(|line| {
                if is_whole(line) {
                    state.json(dialect, line);
                }
            }),
            Some(Cut::Elements(frames)) if !frames.closed() => return,
            _ => {}
        }
        let told = match dialect {
            Dialect::OpenaiChat | Dialect::OpenaiCompletions => {
                state.finished.count_ones() >= state.choices.min(128)
            }
            Dialect::Gemini => state.report.finish.is_some(),
            _ => false,
        };
        if told && state.report.error.is_none() && !matches!(self.cut, Some(Cut::Whole(_)) | None) {
            state.report.complete = true;
        }
    }

    /// Whether the answer comes in one piece, also where a stream was asked for.
    pub fn in_one_piece(&self) -> bool {
        self.framing == Framing::Whole || matches!(self.cut, Some(Cut::Whole(_)))
    }

    /// Whether the whole answer is known to be no error, so that [`first_element`](crate::first_element) need not be
    /// asked. False says nothing.
    pub fn harmless(&self) -> bool {
        matches!(&self.cut, Some(Cut::Whole(whole)) if whole.harmless())
    }

    /// Whether an element of a stream has been seen that is no JSON: no client reads on behind one.
    pub fn malformed(&self) -> bool {
        self.state.malformed
    }

    /// What has been seen so far.
    pub fn report(&self) -> &Report {
        &self.state.report
    }

    /// A server may answer in one piece though a stream was asked for, above all when it answers with an error.
    fn cut_for(&self, first: u8) -> Cut {
        let whole = || Cut::Whole(Whole::new(leaves(self.dialect)));
        match self.framing {
            Framing::Whole => whole(),
            Framing::Lines => Cut::Lines(Frames::lines()),
            Framing::Sse | Framing::Array if first == b'{' => whole(),
            Framing::Sse => Cut::Events(Frames::events()),
            Framing::Array => Cut::Elements(Frames::elements()),
        }
    }
}

fn leaves(dialect: Dialect) -> &'static [whole::Leaf] {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiCompletions | Dialect::OpenaiEmbeddings => &openai::LEAVES,
        Dialect::OpenaiResponses => &responses::LEAVES,
        Dialect::Anthropic => &anthropic::LEAVES,
        Dialect::Gemini => &gemini::LEAVES,
        Dialect::Ollama => &ollama::LEAVES,
    }
}

impl State {
    fn event(&mut self, dialect: Dialect, block: &[u8]) {
        let Some(event) = event(block) else { return };
        if event.data.trim_ascii() == DONE.as_bytes() {
            if matches!(dialect, Dialect::OpenaiChat | Dialect::OpenaiCompletions) {
                self.report.complete = true;
            }
            return;
        }
        self.json(dialect, &event.data);
        // The name alone may say that it is an error.
        if event.name == b"error" && self.report.error.is_none() {
            let data = String::from_utf8_lossy(&event.data);
            self.fail(&data);
            self.report.error.get_or_insert_with(|| data.chars().take(error::MESSAGE_CHARS_MAX).collect());
        }
    }

    /// Reads one element; what is no JSON says nothing.
    fn json(&mut self, dialect: Dialect, element: &[u8]) {
        let Ok(text) = std::str::from_utf8(element) else { return };
        let text = text.trim_ascii();
        if !text.starts_with('{') {
            self.malformed |= !text.is_empty() && !is_whole(text.as_bytes());
            return;
        }
        let read: Result<(), Bad> = match dialect {
            Dialect::OpenaiChat | Dialect::OpenaiCompletions | Dialect::OpenaiEmbeddings => {
                openai::element(self, text)
            }
            Dialect::OpenaiResponses => responses::element(self, text),
            Dialect::Anthropic => anthropic::element(self, text),
            Dialect::Gemini => gemini::element(self, text),
            Dialect::Ollama => ollama::element(self, text),
        };
        self.malformed |= read.is_err() && !is_whole(text.as_bytes());
    }

    fn leaf(&mut self, dialect: Dialect, key: &str, value: &str) {
        match dialect {
            Dialect::OpenaiChat | Dialect::OpenaiCompletions | Dialect::OpenaiEmbeddings => {
                openai::leaf(self, key, value);
            }
            Dialect::OpenaiResponses => responses::leaf(self, key, value),
            Dialect::Anthropic => anthropic::leaf(self, key, value),
            Dialect::Gemini => gemini::leaf(self, key, value),
            Dialect::Ollama => ollama::leaf(self, key, value),
        }
    }
}

/// Whether an element without an end of its own is all there: a torn one must not complete an answer.
fn is_whole(element: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(element) else { return false };
    let mut scan = Scan::new(text);
    text.trim_ascii() == DONE || scan.skip().and_then(|_| scan.end()).is_ok()
}

/// Whether a value says something: no null, no empty string, object or array.
fn says_something(value: &str) -> bool {
    let inner = match value.as_bytes() {
        [b'{' | b'[', inner @ .., _] => inner.trim_ascii(),
        b"null" | b"\"\"" | b"false" => b"",
        other => other,
    };
    !inner.is_empty()
}
