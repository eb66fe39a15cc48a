//! The ways to ask: each dialect, streaming and not.

use llmsim::Kind;
use proto::v1::Dialect;
use serde_json::{Value, json};

/// The clients of one vendor: their errors have one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Openai,
    Anthropic,
    Gemini,
    Ollama,
}

impl Family {
    pub const ALL: [Family; 4] = [Family::Openai, Family::Anthropic, Family::Gemini, Family::Ollama];

    /// The server that is simulated for it.
    pub fn kind(self) -> Kind {
        match self {
            Family::Openai => Kind::Openai,
            Family::Anthropic => Kind::Anthropic,
            Family::Gemini => Kind::Gemini,
            Family::Ollama => Kind::Ollama,
        }
    }
}

/// One way to ask.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub name: &'static str,
    pub family: Family,
    pub dialect: Dialect,
    /// `MODEL` stands for the model.
    path: &'static str,
    /// In every whole answer.
    pub last: &'static str,
    pub stream: bool,
}

impl Way {
    pub fn path(&self, model: &str) -> String {
        self.path.replace("MODEL", model)
    }

    /// Whether a long answer is asked for in this way, one of each family.
    pub fn is_long(&self) -> bool {
        !self.stream && matches!(self.name, "chat" | "messages" | "generateContent")
    }

    /// A request for at most so many tokens.
    pub fn body(&self, model: &str, max: u32) -> Value {
        let messages = json!([{"role": "user", "content": "hi"}]);
        let mut body = match (self.family, self.name) {
            (_, "embeddings" | "embed") => return json!({"model": model, "input": "hi"}),
            (_, "embedContent") => return json!({"content": {"parts": [{"text": "hi"}]}}),
            (Gemini, _) => {
                let contents = json!([{"role": "user", "parts": [{"text": "hi"}]}]);
                return json!({"contents": contents, "generationConfig": {"maxOutputTokens": max}});
            }
            (Openai, "completions") => json!({"prompt": "hi", "max_tokens": max}),
            (Openai, "responses") => json!({"input": "hi", "max_output_tokens": max}),
            (Ollama, "generate") => json!({"prompt": "hi", "options": {"num_predict": max}}),
            (Ollama, _) => json!({"messages": messages, "options": {"num_predict": max}}),
            _ => json!({"messages": messages, "max_tokens": max}),
        };
        body["model"] = json!(model);
        body["stream"] = json!(self.stream);
        body
    }
}

const fn way(
    name: &'static str,
    family: Family,
    dialect: Dialect,
    path: &'static str,
    last: &'static str,
    stream: bool,
) -> Way {
    Way { name, family, dialect, path, last, stream }
}

use Dialect::{
    AnthropicMessages, GeminiContent, OllamaNative, OpenaiChat, OpenaiCompletions, OpenaiEmbeddings,
    OpenaiResponses,
};
use Family::{Anthropic, Gemini, Ollama, Openai};

/// All of them.
pub const WAYS: [Way; 18] = [
    way("chat", Openai, OpenaiChat, "/v1/chat/completions", "\"finish_reason\":\"stop\"", false),
    way("completions", Openai, OpenaiCompletions, "/v1/completions", "\"finish_reason\":\"stop\"", false),
    way("responses", Openai, OpenaiResponses, "/v1/responses", "\"status\":\"completed\"", false),
    way("embeddings", Openai, OpenaiEmbeddings, "/v1/embeddings", "\"embedding\":", false),
    way("messages", Anthropic, AnthropicMessages, "/v1/messages", "\"stop_reason\":\"end_turn\"", false),
    way(
        "generateContent",
        Gemini,
        GeminiContent,
        "/v1beta/models/MODEL:generateContent",
        "finishReason",
        false,
    ),
    way("embedContent", Gemini, GeminiContent, "/v1beta/models/MODEL:embedContent", "\"values\":", false),
    way("chat", Ollama, OllamaNative, "/api/chat", "\"done\":true", false),
    way("generate", Ollama, OllamaNative, "/api/generate", "\"done\":true", false),
    way("embed", Ollama, OllamaNative, "/api/embed", "\"embeddings\":", false),
    way("chat", Openai, OpenaiChat, "/v1/chat/completions", "data: [DONE]", true),
    way("completions", Openai, OpenaiCompletions, "/v1/completions", "data: [DONE]", true),
    way("responses", Openai, OpenaiResponses, "/v1/responses", "event: response.completed", true),
    way("messages", Anthropic, AnthropicMessages, "/v1/messages", "event: message_stop", true),
    way(
        "events",
        Gemini,
        GeminiContent,
        "/v1beta/models/MODEL:streamGenerateContent?alt=sse",
        "finishReason",
        true,
    ),
    way("array", Gemini, GeminiContent, "/v1beta/models/MODEL:streamGenerateContent", "finishReason", true),
    way("chat", Ollama, OllamaNative, "/api/chat", "\"done\":true", true),
    way("generate", Ollama, OllamaNative, "/api/generate", "\"done\":true", true),
];
