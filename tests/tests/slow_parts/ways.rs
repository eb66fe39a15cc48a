//! Each dialect: who speaks it, and how it is asked.

use std::time::Duration;

use llmsim::Kind;
use proto::v1::{self, Dialect};
use serde_json::{Value, json};

/// A dialect, who speaks it, and how it is asked.
#[derive(Clone, Copy)]
pub struct Way {
    pub dialect: Dialect,
    pub kind: Kind,
    /// As the data plane knows it: it has the grace.
    pub row: v1::Kind,
    /// How long the engine works on after its client left; below `grace`.
    pub lag: Duration,
    /// How long a data plane leaves a slot of `row` alone after that.
    pub grace: Duration,
}

pub const WAYS: [Way; 5] = [
    way(Dialect::OpenaiChat, Kind::Llamacpp, v1::Kind::Llamacpp, (40, 150)),
    way(Dialect::OpenaiResponses, Kind::Vllm, v1::Kind::Llamacpp, (40, 150)),
    way(Dialect::AnthropicMessages, Kind::Anthropic, v1::Kind::Llamacpp, (40, 150)),
    way(Dialect::GeminiContent, Kind::Gemini, v1::Kind::Llamacpp, (40, 150)),
    way(Dialect::OllamaNative, Kind::Ollama, v1::Kind::Ollama, (100, 250)),
];

const fn way(dialect: Dialect, kind: Kind, row: v1::Kind, (lag_ms, grace_ms): (u64, u64)) -> Way {
    let (lag, grace) = (Duration::from_millis(lag_ms), Duration::from_millis(grace_ms));
    Way { dialect, kind, row, lag, grace }
}

impl Way {
    /// Path and body of a request.
    pub fn ask(self, text: &str, stream: bool, tokens: u32) -> (&'static str, Value) {
        let messages = json!([{"role": "user", "content": text}]);
        match self.dialect {
            Dialect::OpenaiChat => (
                "/v1/chat/completions",
                json!({"model": "m", "messages": messages, "stream": stream, "max_tokens": tokens}),
            ),
            Dialect::OpenaiResponses => (
                "/v1/responses",
                json!({"model": "m", "input": text, "stream": stream, "max_output_tokens": tokens}),
            ),
            Dialect::AnthropicMessages => (
                "/v1/messages",
                json!({"model": "m", "messages": messages, "stream": stream, "max_tokens": tokens}),
            ),
            Dialect::GeminiContent => (
                if stream {
                    "/v1beta/models/m:streamGenerateContent?alt=sse"
                } else {
                    "/v1beta/models/m:generateContent"
                },
                json!({"contents": [{"role": "user", "parts": [{"text": text}]}],
                       "generationConfig": {"maxOutputTokens": tokens}}),
            ),
            _ => (
                "/api/chat",
                json!({"model": "m", "messages": messages, "stream": stream,
                       "options": {"num_predict": tokens}}),
            ),
        }
    }
}
