//! Request bodies: what routing needs, read in one pass; the bytes stay as they are.

mod anthropic;
mod chat;
mod completions;
mod embeddings;
mod gemini;
mod ollama;
mod place;
mod responses;
mod weigh;

use std::cell::RefCell;
use std::ops::Range;

pub(crate) use anthropic::BILLING;
pub(crate) use place::{Place, Places};

use crate::dialect::{Dialect, Operation};
use crate::estimate::Weight;
use crate::scan::{Bad, Long, Peek, Scan, Text};

/// A model name has at most this many bytes.
pub const MODEL_BYTES_MAX: usize = 256;

/// Further places that may name the model, in one body.
pub const MODELS_INSIDE_MAX: usize = 4096;

/// How much of a refused value a message shows, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// What a request asks, as far as routing and edits need it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The model as the client names it.
    pub model: String,
    /// The JSON string in the body that names it, quotes included; `None` where only the path does.
    pub model_span: Option<Range<usize>>,
    /// Where the body must name the model and does not (the path does): a member goes in here.
    pub model_missing: Option<usize>,
    /// The body names another model than the path, which decides.
    pub model_differs: bool,
    /// Further JSON strings that repeat the model as `models/NAME` (Gemini batches).
    pub models_inside: Vec<Range<usize>>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The most tokens that the answer may have.
    pub max_output: Option<u32>,
    /// Answers asked for at once (`n`).
    pub choices: u32,
    /// Tokens of the prompt, estimated.
    pub prompt_tokens: u32,
    /// Whether the client asked for usage in the stream.
    pub include_usage: UsageAsk,
    /// The billing block of one client, with the comma that goes with it.
    pub billing: Option<Range<usize>>,
    /// The body has the shape of the responses dialect on the path of chat completions.
    pub responses_shape: bool,
    /// Where the body holds what the model will see.
    pub(crate) places: Places,
}

/// Whether a stream is to tell its usage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UsageAsk {
    /// The client asked for it, or the dialect always tells.
    Asked,
    /// It did not; this splice asks.
    Missing {
        /// What is replaced; empty for an insertion.
        at: Range<usize>,
        /// By what.
        with: &'static str,
    },
}

/// A body that cannot be routed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct ReadFault {
    /// The member at fault, `body` for the whole.
    pub field: String,
    /// What is wrong with it and what is allowed.
    pub problem: String,
}

impl ReadFault {
    fn new(field: &str, problem: impl Into<String>) -> Self {
        ReadFault { field: field.to_owned(), problem: problem.into() }
    }

    fn message(&self) -> String {
        match self.field.as_str() {
            "body" => format!("body {}", self.problem),
            field => format!("{field}: {}", self.problem),
        }
    }
}

/// Reads a request body; `path_model` is the model that the path names.
///
/// # Errors
/// Bodies that are not a JSON object in UTF-8, are nested deeper than 128, name no usable model, give a
/// member twice that decides routing, or lack the member that makes the request.
pub fn read(operation: Operation, path_model: Option<&str>, body: &[u8]) -> Result<Ask, ReadFault> {
    read_text(operation, path_model, text(body)?)
}

/// The text of a body.
///
/// # Errors
/// Where it is not UTF-8.
pub fn text(body: &[u8]) -> Result<&str, ReadFault> {
    simdutf8::basic::from_utf8(body).map_err(|_| not_utf8(body))
}

/// As [`read`], for who reads the text again.
///
/// # Errors
/// Those of [`read`].
pub fn read_text(operation: Operation, path_model: Option<&str>, text: &str) -> Result<Ask, ReadFault> {
    let longs = RefCell::default();
    let mut draft = Draft::new(text, &longs);
    draft.members(operation).map_err(|stop| stop.fault(text))?;
    let mut ask = draft.finish(operation, path_model)?;
    ask.places.longs = longs.take();
    Ok(ask)
}

/// Where a body holds what the model will see, as far as it can be read.
pub(crate) fn places(operation: Operation, text: &str) -> Places {
    let longs = RefCell::default();
    let mut draft = Draft::new(text, &longs);
    // What was read before a fault stands.
    let _ = draft.members(operation);
    let mut places = draft.places;
    places.longs = longs.take();
    places
}

/// Where the text breaks off, which the fast check does not tell.
fn not_utf8(body: &[u8]) -> ReadFault {
    let valid = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
    ReadFault::new("body", format!("is not UTF-8 from byte {valid} on"))
}

/// Why reading stopped.
enum Stop {
    Json(Bad),
    Field(ReadFault),
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Self {
        Stop::Json(bad)
    }
}

impl Stop {
    fn fault(self, text: &str) -> ReadFault {
        let bad = match self {
            Stop::Field(fault) => return fault,
            Stop::Json(bad) => bad,
        };
        let before = &text.as_bytes()[..bad.at.min(text.len())];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
        ReadFault::new("body", format!("is not JSON: {} at line {line} column {column}", bad.what))
    }
}

/// What has been read so far.
struct Draft<'a> {
    text: &'a str,
    longs: &'a RefCell<Vec<Long>>,
    start: usize,
    empty: bool,
    model: Option<Text<'a>>,
    name: Option<Text<'a>>,
    models_inside: Vec<Range<usize>>,
    stream: Option<bool>,
    max_output: Option<u32>,
    choices: u32,
    weight: Weight,
    usage: Option<UsageAsk>,
    billing: Option<Range<usize>>,
    messages: bool,
    input: bool,
    places: Places,
}

impl<'a> Draft<'a> {
    fn new(text: &'a str, longs: &'a RefCell<Vec<Long>>) -> Self {
        Draft {
            text,
            longs,
            start: 0,
            empty: true,
            model: None,
            name: None,
            models_inside: Vec::new(),
            stream: None,
            max_output: None,
            choices: 1,
            weight: Weight::default(),
            usage: None,
            billing: None,
            messages: false,
            input: false,
            places: Places::default(),
        }
    }

    fn members(&mut self, operation: Operation) -> Result<(), Stop> {
        if self.text.trim_ascii().is_empty() {
            return Err(field("body", "is empty; a JSON object is expected"));
        }
        let mut scan = Scan::noting(self.text, self.longs);
        let kind = scan.peek()?;
        if kind != Peek::Object {
            // A text that is no JSON at all is told so first.
            scan.skip()?;
            return Err(field("body", format!("must be a JSON object, got {}", kind_name(kind))));
        }
        let member = match operation.dialect() {
            Dialect::OpenaiChat => chat::member,
            Dialect::OpenaiResponses => responses::member,
            Dialect::OpenaiCompletions => completions::member,
            Dialect::OpenaiEmbeddings => embeddings::member,
            Dialect::Anthropic => anthropic::member,
            Dialect::Gemini => gemini::member,
            Dialect::Ollama => ollama::member,
        };
        let gemini = operation.dialect() == Dialect::Gemini;
        let span = scan.object(|scan, key| {
            self.empty = false;
            let name = key.name();
            match name.as_ref() {
                "model" if !gemini => self.read_model(scan),
                "stream" if !gemini => self.read_stream(scan),
                // Servers written in Go take these in any case, the last one of all; no client writes them so.
                name if !gemini && ["model", "stream"].iter().any(|key| name.eq_ignore_ascii_case(key)) => {
                    Err(field(name, "must be written in lower case"))
                }
                name => member(self, scan, name),
            }
        })?;
        self.start = span.start;
        scan.end()?;
        Ok(())
    }

    fn read_model(&mut self, scan: &mut Scan<'a>) -> Result<(), Stop> {
        if self.model.is_some() {
            return Err(field("model", "is given twice"));
        }
        self.model = Some(model_text(scan, "model")?);
        Ok(())
    }

    fn read_stream(&mut self, scan: &mut Scan<'a>) -> Result<(), Stop> {
        if self.stream.is_some() {
            return Err(field("stream", "is given twice"));
        }
        let span = scan.skip()?;
        self.stream = match scan.slice(&span) {
            "true" => Some(true),
            "false" => Some(false),
            "null" => None,
            other => return Err(field("stream", format!("must be true or false, got {}", shown(other)))),
        };
        Ok(())
    }

    /// A limit on the answer; what is no whole number is left to the server to refuse.
    fn read_max(&mut self, scan: &mut Scan<'a>) -> Result<(), Stop> {
        let span = scan.skip()?;
        if let Ok(limit) = scan.slice(&span).parse() {
            self.max_output = Some(limit);
        }
        Ok(())
    }

    fn finish(self, operation: Operation, path_model: Option<&str>) -> Result<Ask, ReadFault> {
        let dialect = operation.dialect();
        let responses_shape = operation == Operation::Chat && self.input && !self.messages;
        let missing = |name: &str| Err(ReadFault::new(name, "missing"));
        // Ollama takes `name` where `model` is empty.
        let unnamed = self.name.is_some() && self.model.as_ref().is_some_and(|model| model.raw.is_empty());
        let in_body = if unnamed { self.name } else { self.model.or(self.name) };
        let decoded = in_body.as_ref().map(|text| model_name(text)).transpose()?;
        let model = match (path_model, &decoded) {
            (Some(path), _) => checked("model in the path", path)?,
            (None, Some(model)) => model.clone(),
            (None, None) => return missing("model"),
        };
        match operation {
            Operation::Chat if !self.messages && !self.input => return missing("messages"),
            Operation::Messages | Operation::CountTokens if !self.messages => return missing("messages"),
            Operation::Embeddings if !self.input => return missing("input"),
            _ => {}
        }
        let stream = match operation {
            Operation::StreamGenerateContent => true,
            Operation::OllamaChat | Operation::OllamaGenerate => self.stream.unwrap_or(true),
            _ => self.stream.unwrap_or(false),
        };
        let after_brace = self.start + 1;
        let ask_usage = UsageAsk::Missing {
            at: after_brace..after_brace,
            with: r#""stream_options":{"include_usage":true},"#,
        };
        let tells = !matches!(dialect, Dialect::OpenaiChat | Dialect::OpenaiCompletions);
        Ok(Ask {
            model_differs: path_model.is_some() && decoded.is_some_and(|name| name != model),
            model_missing: (in_body.is_none() && dialect != Dialect::Gemini && !self.empty)
                .then_some(after_brace),
            model_span: in_body.map(|text| text.span),
            model,
            models_inside: self.models_inside,
            stream,
            max_output: self.max_output,
            choices: self.choices,
            prompt_tokens: self.weight.prompt_tokens(),
            include_usage: if tells { UsageAsk::Asked } else { self.usage.unwrap_or(ask_usage) },
            billing: self.billing,
            responses_shape,
            places: self.places,
        })
    }
}

fn field(name: &str, problem: impl Into<String>) -> Stop {
    Stop::Field(ReadFault::new(name, problem))
}

fn model_text<'a>(scan: &mut Scan<'a>, name: &str) -> Result<Text<'a>, Stop> {
    if scan.peek()? == Peek::Text {
        return Ok(scan.text()?);
    }
    let span = scan.skip()?;
    Err(field(name, format!("must be a non-empty string, got {}", shown(scan.slice(&span)))))
}

fn model_name(text: &Text<'_>) -> Result<String, ReadFault> {
    match text.decode() {
        Some(name) => checked("model", &name),
        None => Err(ReadFault::new("model", "holds half of a surrogate pair")),
    }
}

fn checked(field: &str, name: &str) -> Result<String, ReadFault> {
    if name.is_empty() {
        return Err(ReadFault::new(field, "must be a non-empty string, got \"\""));
    }
    if name.len() > MODEL_BYTES_MAX {
        let problem = format!("has {} bytes, at most {MODEL_BYTES_MAX} are allowed", name.len());
        return Err(ReadFault::new(field, problem));
    }
    if name.chars().any(char::is_control) {
        return Err(ReadFault::new(field, "holds a control character"));
    }
    Ok(name.to_owned())
}

fn shown(value: &str) -> String {
    let mut short: String =
        value.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}

fn kind_name(kind: Peek) -> &'static str {
    match kind {
        Peek::Object => "an object",
        Peek::Array => "an array",
        Peek::Text => "a string",
        Peek::Number => "a number",
        Peek::Bool => "true or false",
        Peek::Null => "null",
    }
}
