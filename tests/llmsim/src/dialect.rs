//! One token stream, written by one encoder per dialect.

mod chat;
mod completions;
mod gemini;
mod llama;
mod messages;
mod ollama;
mod responses;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::{
    ask::{Ask, Tool},
    date,
    engine::Timing,
    settings::{Kind, Settings},
    text,
    trouble::Surface,
};

/// Characters of a tool's arguments that count as one token.
const ARGS_CHARS: usize = 6;

/// A wire format for generated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Chat,
    Completions,
    Responses,
    Messages,
    Gemini,
    OllamaChat,
    OllamaGenerate,
}

impl Dialect {
    /// The shape of its errors.
    pub fn surface(self) -> Surface {
        match self {
            Dialect::Chat | Dialect::Completions | Dialect::Responses => Surface::Openai,
            Dialect::Messages => Surface::Anthropic,
            Dialect::Gemini | Dialect::OllamaChat | Dialect::OllamaGenerate => Surface::Native,
        }
    }
}

/// What all parts of one answer share.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub kind: Kind,
    pub model: String,
    /// Ids are made from it.
    pub seed: u64,
    /// Seconds since 1970.
    pub created: u64,
    pub prompt_tokens: u32,
    /// Of those, what was cached; known when the first token comes.
    pub cached: Arc<AtomicU32>,
    /// vLLM: it tells that.
    pub details: bool,
    pub include_usage: bool,
    /// Gemini: server-sent events rather than a JSON array.
    pub sse: bool,
}

impl Head {
    pub fn new(settings: &Settings, ask: &Ask, prompt_tokens: u32, number: u64, sse: bool) -> Self {
        Head {
            kind: settings.kind,
            model: ask.model.clone(),
            seed: text::hash(ask.prompt.as_bytes()) ^ number,
            created: date::unix().as_secs(),
            prompt_tokens,
            cached: Arc::default(),
            details: settings.prompt_details,
            include_usage: ask.include_usage,
            sse,
        }
    }

    /// Prompt tokens that were cached, and those that were read.
    pub fn split(&self) -> (u32, u32) {
        let cached = self.cached.load(Ordering::Relaxed).min(self.prompt_tokens);
        (cached, self.prompt_tokens - cached)
    }

    /// An id with a prefix, the same throughout one answer.
    pub fn id(&self, prefix: &str, digits: usize) -> String {
        format!("{prefix}{}", text::hex(self.seed ^ text::hash(prefix.as_bytes()), digits))
    }
}

/// What is written with one token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    /// A tool call begins.
    Call(String),
    /// A part of its arguments.
    Args(String),
}

impl Piece {
    /// What of it comes back in the prompt of the next turn.
    pub fn text(&self) -> String {
        match self {
            Piece::Text(text) | Piece::Args(text) => text.clone(),
            Piece::Call(_) => String::new(),
        }
    }
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    Call,
    /// Ollama: nothing was asked but to load or unload the model.
    Load,
    Unload,
}

/// An answer as it will be, before the engine has spent its time on it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub pieces: Vec<Piece>,
    pub finish: Finish,
}

impl Plan {
    pub fn new(ask: &Ask, natural_tokens: u32) -> Self {
        if ask.load_only {
            let finish = if ask.unload { Finish::Unload } else { Finish::Load };
            return Plan { pieces: Vec::new(), finish };
        }
        let (mut pieces, finish) = match &ask.tool {
            Some(tool) => (call(tool), Finish::Call),
            None => {
                let count = natural_tokens.min(ask.max.unwrap_or(u32::MAX));
                let words = text::words(text::hash(ask.prompt.as_bytes()), count);
                (words.into_iter().map(Piece::Text).collect(), Finish::Stop)
            }
        };
        let whole = if ask.tool.is_some() { pieces.len() as u32 } else { natural_tokens };
        match ask.max {
            Some(max) if max < whole => {
                pieces.truncate(max as usize);
                Plan { pieces, finish: Finish::Length }
            }
            _ => Plan { pieces, finish },
        }
    }

    /// All text, and the tool call if there is one.
    pub fn whole(&self) -> (String, Option<Tool>) {
        let (mut text, mut tool) = (String::new(), None::<Tool>);
        for piece in &self.pieces {
            match piece {
                Piece::Text(word) => text.push_str(word),
                Piece::Call(name) => tool = Some(Tool { name: name.clone(), arguments: String::new() }),
                Piece::Args(part) => {
                    if let Some(tool) = tool.as_mut() {
                        tool.arguments.push_str(part);
                    }
                }
            }
        }
        (text, tool)
    }
}

fn call(tool: &Tool) -> Vec<Piece> {
    let characters: Vec<char> = tool.arguments.chars().collect();
    let args = characters.chunks(ARGS_CHARS).map(|part| Piece::Args(part.iter().collect()));
    std::iter::once(Piece::Call(tool.name.clone())).chain(args).collect()
}

/// What is known when an answer ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub finish: Finish,
    pub output_tokens: u32,
    pub timing: Timing,
}

/// Writes one answer. In a stream: `begin`, one `piece` a token, `end`; otherwise `whole` alone.
pub(crate) trait Encode: Send {
    /// The content type of the stream.
    fn content_type(&self) -> &'static str {
        "text/event-stream"
    }
    fn begin(&mut self, out: &mut Vec<u8>);
    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>);
    /// The dialect's last events; a truncated stream lacks them.
    fn end(&mut self, end: &End, out: &mut Vec<u8>);
    /// An error instead of the first element.
    fn error(&mut self, body: &Value, out: &mut Vec<u8>);
    /// The body of an answer that is not streamed.
    fn whole(&self, plan: &Plan, end: &End) -> Value;
}

/// The encoder of a dialect.
pub(crate) fn encoder(dialect: Dialect, head: Head) -> Box<dyn Encode> {
    match dialect {
        Dialect::Chat => Box::new(chat::Chat::new(head)),
        Dialect::Completions => Box::new(completions::Completions::new(head)),
        Dialect::Responses if head.kind == Kind::Llamacpp => Box::new(llama::Llama::new(head)),
        Dialect::Responses => Box::new(responses::Responses::new(head)),
        Dialect::Messages => Box::new(messages::Messages::new(head)),
        Dialect::Gemini => Box::new(gemini::Gemini::new(head)),
        Dialect::OllamaChat => Box::new(ollama::Ollama::new(head, true)),
        Dialect::OllamaGenerate => Box::new(ollama::Ollama::new(head, false)),
    }
}

/// One `data:` frame.
fn data(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    json(value, out);
    out.extend_from_slice(b"\n\n");
}

/// One frame with the event's name, which is also its `type`.
fn event(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(value["type"].as_str().unwrap_or("message").as_bytes());
    out.push(b'\n');
    data(value, out);
}

fn json(value: &Value, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a JSON value is written to memory");
}
