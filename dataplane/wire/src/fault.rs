//! Faults, told in the dialect of the client.

mod body;
mod row;

use serde_json::json;

use crate::dialect::{Dialect, Operation};
use crate::target::Framing;
use row::Row;

/// Seconds after which a client may try again where nothing better is known.
const RETRY_AFTER_S: u32 = 1;

/// Why a request is not answered by a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The body cannot be read or lacks what routing needs.
    BadRequest {
        /// What is wrong and what is allowed.
        message: String,
    },
    /// The prompt fits no server.
    TooLong {
        /// Tokens of the prompt, estimated.
        estimate: u64,
        /// Tokens that the largest server takes.
        limit: u64,
    },
    /// The body has too many bytes.
    TooLarge {
        /// The most bytes that are taken.
        limit_bytes: u64,
    },
    /// No route and no server knows the model.
    UnknownModel {
        /// The name asked for.
        model: String,
        /// A sentence on what could be meant.
        hint: Option<String>,
    },
    /// No such path.
    UnknownPath {
        /// The path asked for.
        path: String,
    },
    /// The path takes other methods.
    Method {
        /// The methods that it takes.
        allow: String,
    },
    /// The path exists in the dialect and is not served.
    Unsupported {
        /// What was asked.
        what: String,
    },
    /// The model lives only behind other dialects.
    WrongDialect {
        /// The name asked for.
        model: String,
        /// The dialects in which it can be asked.
        needs: Vec<String>,
    },
    /// The body is of a type or coding that is not read.
    MediaType {
        /// What the client declared.
        got: String,
    },
    /// No key, or an unknown one.
    Unauthorized,
    /// Too many requests wait already.
    QueueFull {
        /// How many wait.
        waiting: u64,
        /// When a new try makes sense, in seconds.
        retry_after_s: u32,
    },
    /// No slot became free in time.
    QueueDeadline {
        /// How long it waited, in milliseconds.
        waited_ms: u64,
        /// When a new try makes sense, in seconds.
        retry_after_s: u32,
    },
    /// Every server of the model is down or draining.
    NoBackend {
        /// The name asked for.
        model: String,
        /// Why none can serve.
        reason: String,
        /// When a new try makes sense, in seconds.
        retry_after_s: u32,
    },
    /// Another data plane owns the slots.
    Spare,
    /// The server cannot be reached.
    UpstreamConnect {
        /// Its name.
        backend: String,
    },
    /// A deadline of the route passed.
    UpstreamTimeout {
        /// Its name.
        backend: String,
        /// Which deadline, and how long it was.
        what: String,
    },
    /// The server broke the protocol or the connection.
    UpstreamBroken {
        /// Its name.
        backend: String,
        /// How.
        what: String,
    },
    /// The server refuses the product's credential.
    UpstreamAuth {
        /// Its name.
        backend: String,
    },
    /// The answer ended before its last element.
    Truncated {
        /// The name of the server.
        backend: String,
    },
    /// This process is about to stop.
    Draining {
        /// When a new try makes sense, in seconds.
        retry_after_s: u32,
    },
    /// Request bodies fill all the memory that is set aside for them.
    Memory {
        /// When a new try makes sense, in seconds.
        retry_after_s: u32,
    },
    /// A fault of the product.
    Internal,
}

impl Fault {
    /// The HTTP status in a dialect.
    pub fn status(&self, dialect: Dialect) -> u16 {
        self.row().status(dialect)
    }

    /// The error body in a dialect.
    pub fn body(&self, dialect: Dialect, request_id: &str) -> String {
        body::render(dialect, &self.row(), &self.told(dialect), self.retry_after_s(), request_id)
    }

    /// When a new try makes sense, in seconds, rounded up; for the header `retry-after`.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Fault::QueueFull { retry_after_s, .. }
            | Fault::QueueDeadline { retry_after_s, .. }
            | Fault::NoBackend { retry_after_s, .. }
            | Fault::Memory { retry_after_s }
            | Fault::Draining { retry_after_s } => Some((*retry_after_s).max(1)),
            Fault::Spare => Some(RETRY_AFTER_S),
            _ => None,
        }
    }

    /// The bytes that end a stream with this fault; `None` where the framing has no place for one and the
    /// connection must be broken off. For the responses dialect `request_id` should be the id of the answer, where
    /// it is known ([`Report::id`](crate::Report)).
    pub fn in_stream(&self, dialect: Dialect, framing: Framing, request_id: &str) -> Option<Vec<u8>> {
        let body = self.body(dialect, request_id);
        // An event that was cut is ended first; behind a whole one the empty lines say nothing.
        let text = match (framing, dialect) {
            (Framing::Whole, _) => return None,
            (Framing::Lines, _) => format!("{body}\n"),
            (Framing::Array, _) => format!(",\n{body}\n]"),
            (Framing::Sse, Dialect::Anthropic) => format!("\n\nevent: error\ndata: {body}\n\n"),
            (Framing::Sse, Dialect::Gemini) => format!("\r\n\r\ndata: {body}\r\n\r\n"),
            (Framing::Sse, Dialect::OpenaiResponses) => {
                let event = self.response_failed(request_id);
                format!("\n\nevent: response.failed\ndata: {event}\n\n")
            }
            (Framing::Sse, _) => format!("\n\ndata: {body}\n\n"),
        };
        Some(text.into_bytes())
    }

    /// One sentence, the same in every dialect that prescribes none.
    pub fn message(&self) -> String {
        match self {
            Fault::BadRequest { message } => message.clone(),
            Fault::TooLong { estimate, limit } => {
                format!("prompt is too long: {estimate} tokens > {limit} maximum")
            }
            Fault::TooLarge { limit_bytes } => format!("request body is larger than {limit_bytes} bytes"),
            Fault::UnknownModel { model, hint } => match hint {
                Some(hint) => format!("model \"{model}\" not found; {hint}"),
                None => format!("model \"{model}\" not found"),
            },
            Fault::UnknownPath { path } => format!("unknown path {path}"),
            Fault::Method { allow } => format!("method not allowed; this path takes {allow}"),
            Fault::Unsupported { what } => format!("{what} is not supported here"),
            Fault::WrongDialect { model, needs } => format!(
                "model \"{model}\" is served in {} only; translation between dialects is not there yet",
                needs.join(", ")
            ),
            Fault::MediaType { got } => {
                format!("{got} is not read; send JSON, whole or compressed with gzip, deflate or zstd")
            }
            Fault::Unauthorized => "missing or unknown API key".to_owned(),
            Fault::QueueFull { waiting, .. } => {
                format!("{waiting} requests are waiting already; try again later")
            }
            Fault::QueueDeadline { waited_ms, .. } => {
                format!("no server became free within {waited_ms} ms; try again later")
            }
            Fault::NoBackend { model, reason, .. } => format!("no server for model \"{model}\": {reason}"),
            Fault::Spare => "another data plane serves this fleet; this one is a spare".to_owned(),
            Fault::UpstreamConnect { backend } => format!("backend {backend} cannot be reached"),
            Fault::UpstreamTimeout { backend, what } => format!("{what} passed on backend {backend}"),
            Fault::UpstreamBroken { backend, what } => format!("backend {backend} failed: {what}"),
            Fault::UpstreamAuth { backend } => {
                format!("backend {backend} refuses the credential configured for it")
            }
            Fault::Truncated { backend } => {
                format!("backend {backend} ended the answer before its end; what came is incomplete")
            }
            Fault::Draining { .. } => "this data plane is shutting down; try again".to_owned(),
            Fault::Memory { .. } => {
                "request bodies fill the memory set aside for them; try again later".to_owned()
            }
            Fault::Internal => "internal error".to_owned(),
        }
    }

    /// The message where a dialect's clients look for certain words.
    fn told(&self, dialect: Dialect) -> String {
        match (self, dialect) {
            (Fault::UnknownModel { model, .. }, Dialect::Ollama) => {
                format!("model \"{model}\" not found, try pulling it first")
            }
            (Fault::UnknownModel { model, hint }, Dialect::Anthropic) => match hint {
                Some(hint) => format!("model: {model} ({hint})"),
                None => format!("model: {model}"),
            },
            _ => self.message(),
        }
    }

    fn row(&self) -> Row {
        row::of(self)
    }

    fn response_failed(&self, request_id: &str) -> serde_json::Value {
        let id = match request_id.strip_prefix("resp") {
            Some(_) => request_id.to_owned(),
            None => format!("resp_{request_id}"),
        };
        json!({
            "type": "response.failed",
            "sequence_number": 0,
            "response": {
                "id": id,
                "object": "response",
                "created_at": 0,
                "status": "failed",
                "error": { "code": self.row().code.unwrap_or("server_error"), "message": self.message() },
                "incomplete_details": null,
                "output": [],
                "usage": null,
            },
        })
    }
}

/// An error of a server, told in the dialect of the client under the status given.
pub fn relay_error(dialect: Dialect, status: u16, message: &str, request_id: &str) -> String {
    body::render(dialect, &row::of_status(status), message, None, request_id)
}

/// Status and body for an error that came as the first element of an answer with status 200.
pub fn upstream_error(operation: Operation, status: u16, message: &str, request_id: &str) -> (u16, String) {
    (status, relay_error(operation.dialect(), status, message, request_id))
}
