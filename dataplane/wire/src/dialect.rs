//! The wire formats and what is asked of a server in each.

use std::borrow::Cow;

/// A wire format that clients and servers speak.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Dialect {
    /// OpenAI chat completions.
    OpenaiChat,
    /// OpenAI responses.
    OpenaiResponses,
    /// OpenAI completions, the older form.
    OpenaiCompletions,
    /// OpenAI embeddings.
    OpenaiEmbeddings,
    /// Anthropic messages.
    Anthropic,
    /// Google Gemini.
    Gemini,
    /// Ollama's own API.
    Ollama,
}

impl Dialect {
    /// Every dialect, in a fixed order.
    pub const ALL: [Dialect; 7] = [
        Dialect::OpenaiChat,
        Dialect::OpenaiResponses,
        Dialect::OpenaiCompletions,
        Dialect::OpenaiEmbeddings,
        Dialect::Anthropic,
        Dialect::Gemini,
        Dialect::Ollama,
    ];

    /// The name used in configuration, metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::OpenaiChat => "openai-chat",
            Dialect::OpenaiResponses => "openai-responses",
            Dialect::OpenaiCompletions => "openai-completions",
            Dialect::OpenaiEmbeddings => "openai-embeddings",
            Dialect::Anthropic => "anthropic",
            Dialect::Gemini => "gemini",
            Dialect::Ollama => "ollama",
        }
    }

    /// The dialect with that [`name`](Dialect::name).
    pub fn parse(name: &str) -> Option<Self> {
        Dialect::ALL.into_iter().find(|dialect| dialect.name() == name)
    }
}

/// What is asked of a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST …:generateContent`
    GenerateContent,
    /// `POST …:streamGenerateContent`
    StreamGenerateContent,
    /// `POST …:embedContent`
    EmbedContent,
    /// `POST …:batchEmbedContents`
    BatchEmbedContents,
    /// `POST …:countTokens`
    GeminiCountTokens,
    /// `POST /api/chat`
    OllamaChat,
    /// `POST /api/generate`
    OllamaGenerate,
    /// `POST /api/embed`
    OllamaEmbed,
    /// `POST /api/embeddings`, the older form
    OllamaEmbeddings,
    /// `POST /api/show`
    OllamaShow,
}

impl Operation {
    /// Every operation, in a fixed order.
    pub const ALL: [Operation; 16] = [
        Operation::Chat,
        Operation::Responses,
        Operation::Completions,
        Operation::Embeddings,
        Operation::Messages,
        Operation::CountTokens,
        Operation::GenerateContent,
        Operation::StreamGenerateContent,
        Operation::EmbedContent,
        Operation::BatchEmbedContents,
        Operation::GeminiCountTokens,
        Operation::OllamaChat,
        Operation::OllamaGenerate,
        Operation::OllamaEmbed,
        Operation::OllamaEmbeddings,
        Operation::OllamaShow,
    ];

    /// The dialect in which it is asked.
    pub const fn dialect(self) -> Dialect {
        match self {
            Operation::Chat => Dialect::OpenaiChat,
            Operation::Responses => Dialect::OpenaiResponses,
            Operation::Completions => Dialect::OpenaiCompletions,
            Operation::Embeddings => Dialect::OpenaiEmbeddings,
            Operation::Messages | Operation::CountTokens => Dialect::Anthropic,
            Operation::GenerateContent
            | Operation::StreamGenerateContent
            | Operation::EmbedContent
            | Operation::BatchEmbedContents
            | Operation::GeminiCountTokens => Dialect::Gemini,
            Operation::OllamaChat
            | Operation::OllamaGenerate
            | Operation::OllamaEmbed
            | Operation::OllamaEmbeddings
            | Operation::OllamaShow => Dialect::Ollama,
        }
    }

    /// Whether it makes the engine work, and so must hold a slot.
    pub const fn takes_slot(self) -> bool {
        !matches!(self, Operation::CountTokens | Operation::GeminiCountTokens | Operation::OllamaShow)
    }

    /// Whether the answer is written token by token.
    pub const fn generates(self) -> bool {
        let embeds = matches!(
            self,
            Operation::Embeddings
                | Operation::EmbedContent
                | Operation::BatchEmbedContents
                | Operation::OllamaEmbed
                | Operation::OllamaEmbeddings
        );
        self.takes_slot() && !embeds
    }

    /// The name used in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Chat => "chat",
            Operation::Responses => "responses",
            Operation::Completions => "completions",
            Operation::Embeddings => "embeddings",
            Operation::Messages => "messages",
            Operation::CountTokens => "count-tokens",
            Operation::GenerateContent => "generate-content",
            Operation::StreamGenerateContent => "stream-generate-content",
            Operation::EmbedContent => "embed-content",
            Operation::BatchEmbedContents => "batch-embed-contents",
            Operation::GeminiCountTokens => "gemini-count-tokens",
            Operation::OllamaChat => "ollama-chat",
            Operation::OllamaGenerate => "ollama-generate",
            Operation::OllamaEmbed => "ollama-embed",
            Operation::OllamaEmbeddings => "ollama-embeddings",
            Operation::OllamaShow => "ollama-show",
        }
    }

    /// The path at the server, after its base; `model` stands in it for Gemini alone.
    pub fn path(self, model: &str) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Operation::Chat => "/v1/chat/completions",
            Operation::Responses => "/v1/responses",
            Operation::Completions => "/v1/completions",
            Operation::Embeddings => "/v1/embeddings",
            Operation::Messages => "/v1/messages",
            Operation::CountTokens => "/v1/messages/count_tokens",
            Operation::OllamaChat => "/api/chat",
            Operation::OllamaGenerate => "/api/generate",
            Operation::OllamaEmbed => "/api/embed",
            Operation::OllamaEmbeddings => "/api/embeddings",
            Operation::OllamaShow => "/api/show",
            Operation::GenerateContent => return gemini_path(model, "generateContent"),
            Operation::StreamGenerateContent => return gemini_path(model, "streamGenerateContent"),
            Operation::EmbedContent => return gemini_path(model, "embedContent"),
            Operation::BatchEmbedContents => return gemini_path(model, "batchEmbedContents"),
            Operation::GeminiCountTokens => return gemini_path(model, "countTokens"),
        })
    }
}

fn gemini_path(model: &str, method: &str) -> Cow<'static, str> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    let mut path = String::with_capacity(model.len() + method.len() + 24);
    path.push_str("/v1beta/models/");
    for &byte in model.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            path.push('%');
            path.push(char::from(HEX[usize::from(byte >> 4)]));
            path.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    path.push(':');
    path.push_str(method);
    Cow::Owned(path)
}
