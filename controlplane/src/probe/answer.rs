//! Questions that are put to a server, and its answers, as values.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;
use wire::Dialect;

use super::vllm;

/// How a question proves who asks, where there is a credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Login {
    /// `authorization: Bearer`.
    Bearer,
    /// `x-api-key` and `anthropic-version`.
    Anthropic,
    /// `x-goog-api-key`.
    Gemini,
}

/// One question. None makes a server generate anything: the posts have an empty request.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Question {
    /// llama.cpp's properties.
    Props,
    /// The OpenAI list of models.
    Models,
    /// The Anthropic list of models.
    ModelsAnthropic,
    /// The Gemini list of models.
    ModelsGemini,
    /// LM Studio's list, from 0.4 on.
    LmstudioV1,
    /// LM Studio's list, from 0.3.6 on.
    LmstudioV0,
    /// The front page.
    Root,
    /// Ollama's version.
    OllamaVersion,
    /// Ollama's models.
    OllamaTags,
    /// Ollama's models in memory.
    OllamaPs,
    /// vLLM's version.
    Version,
    /// Metrics, of which vLLM's cache and load are read.
    Metrics,
    /// SGLang's settings and state, and where they were before.
    ServerInfo,
    ServerInfoOld,
    /// What SGLang knows of its model.
    ModelInfo,
    /// SGLang's load.
    Loads,
    /// llama.cpp's slots.
    Slots,
    /// Whether a dialect exists: an empty request to it.
    Empty(Dialect),
    /// What Ollama knows of one model.
    OllamaShow(String),
}

/// The dialects that an empty request is sent for.
pub const EMPTY: [Dialect; 5] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::OpenaiCompletions,
    Dialect::OpenaiEmbeddings,
    Dialect::Anthropic,
];

impl Question {
    /// Every question of a full identification but those about one model.
    #[must_use]
    pub fn all() -> Vec<Question> {
        let mut all = vec![
            Question::Props,
            Question::Models,
            Question::ModelsAnthropic,
            Question::ModelsGemini,
            Question::LmstudioV1,
            Question::LmstudioV0,
            Question::Root,
            Question::OllamaVersion,
            Question::OllamaTags,
            Question::OllamaPs,
            Question::Version,
        ];
        all.extend(EMPTY.map(Question::Empty));
        all
    }

    /// The path behind the base URL.
    #[must_use]
    pub fn path(&self) -> &'static str {
        match self {
            Question::Props => "/props",
            Question::Models => "/v1/models",
            Question::ModelsAnthropic => "/v1/models?limit=1000",
            Question::ModelsGemini => "/v1beta/models?pageSize=1000",
            Question::LmstudioV1 => "/api/v1/models",
            Question::LmstudioV0 => "/api/v0/models",
            Question::Root => "/",
            Question::OllamaVersion => "/api/version",
            Question::OllamaTags => "/api/tags",
            Question::OllamaPs => "/api/ps",
            Question::Version => "/version",
            Question::Metrics => "/metrics",
            Question::ServerInfo => "/server_info",
            Question::ServerInfoOld => "/get_server_info",
            Question::ModelInfo => "/model_info",
            Question::Loads => "/v1/loads",
            Question::Slots => "/slots",
            Question::Empty(Dialect::OpenaiChat) => "/v1/chat/completions",
            Question::Empty(Dialect::OpenaiResponses) => "/v1/responses",
            Question::Empty(Dialect::OpenaiCompletions) => "/v1/completions",
            Question::Empty(Dialect::OpenaiEmbeddings) => "/v1/embeddings",
            Question::Empty(Dialect::Anthropic) => "/v1/messages",
            Question::Empty(Dialect::Gemini) => "/v1beta/models/none:generateContent",
            Question::Empty(Dialect::Ollama) => "/api/chat",
            Question::OllamaShow(_) => "/api/show",
        }
    }

    /// The body; `None`: a GET.
    #[must_use]
    pub fn body(&self) -> Option<Cow<'static, str>> {
        match self {
            Question::Empty(_) => Some(Cow::Borrowed("{}")),
            Question::OllamaShow(model) => Some(serde_json::json!({ "model": model }).to_string().into()),
            _ => None,
        }
    }

    /// What is kept of an answer to it.
    #[must_use]
    pub fn read(&self, status: u16, server: &str, body: &[u8]) -> Answer {
        match self {
            Question::Metrics => Answer::metrics(status, server, body, &vllm::READ),
            _ => Answer::new(status, server, body),
        }
    }

    /// How it logs in.
    #[must_use]
    pub fn login(&self) -> Login {
        match self {
            Question::ModelsAnthropic | Question::Empty(Dialect::Anthropic) => Login::Anthropic,
            Question::ModelsGemini | Question::Empty(Dialect::Gemini) => Login::Gemini,
            _ => Login::Bearer,
        }
    }

    /// Method and path, for evidence.
    #[must_use]
    pub fn label(&self) -> String {
        let method = if self.body().is_some() { "POST" } else { "GET" };
        match self {
            Question::OllamaShow(model) => format!("{method} {} {model}", self.path()),
            _ => format!("{method} {}", self.path()),
        }
    }
}

/// An answer, whatever its status.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `server` header.
    pub server: String,
    /// The body, when it is JSON.
    pub json: Option<Value>,
    /// The start of the body, when it is not.
    pub text: String,
}

impl Answer {
    /// Bytes of a body that is no JSON, kept at most.
    const TEXT_BYTES_MAX: usize = 256;
    /// Bytes of a line of metrics that is kept, and how many of them, at most.
    const LINE_BYTES_MAX: usize = 4096;
    const LINES_MAX: usize = 16;

    /// From what came.
    #[must_use]
    pub fn new(status: u16, server: &str, body: &[u8]) -> Self {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let text = match json {
            Some(_) => String::new(),
            None => String::from_utf8_lossy(&body[..body.len().min(Self::TEXT_BYTES_MAX)]).into_owned(),
        };
        Answer { status, server: server.to_owned(), json, text }
    }

    /// From a page of metrics: only the lines that begin so are kept.
    #[must_use]
    pub fn metrics(status: u16, server: &str, body: &[u8], begin: &[&str]) -> Self {
        let text = String::from_utf8_lossy(body);
        let read = |line: &&str| begin.iter().any(|begin| line.starts_with(begin));
        let lines = text.lines().filter(read).filter(|line| line.len() <= Self::LINE_BYTES_MAX);
        let text = lines.take(Self::LINES_MAX).flat_map(|line| [line, "\n"]).collect();
        Answer { status, server: server.to_owned(), json: None, text }
    }

    /// `error` of a JSON body.
    #[must_use]
    pub fn error(&self) -> Option<&Value> {
        self.json.as_ref()?.get("error").filter(|error| !error.is_null())
    }

    /// Whether it is an HTML page.
    #[must_use]
    pub fn is_html(&self) -> bool {
        self.json.is_none() && self.text.trim_start().starts_with('<')
    }

    /// Whether it asks for another credential.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self.status, 401 | 403)
    }

    /// Whether a request was refused as faulty, which shows that its path is served.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, 400 | 422)
    }
}

/// Why there is no answer. A sentence without the URL.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens, or the name does not resolve.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Time is over.
    #[error("no answer within {0} ms")]
    Late(u128),
    /// More bytes than are read.
    #[error("the answer is larger than {0} bytes")]
    Large(usize),
    /// The connection broke, or it is no HTTP.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// The secret cannot be read.
    #[error("{0}")]
    Secret(String),
    /// The authority's file cannot be used.
    #[error("{0}")]
    Authority(String),
}

/// Answers by question.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answers(pub BTreeMap<Question, Result<Answer, Failure>>);

impl Answers {
    /// The answer to a question, if there is one.
    #[must_use]
    pub fn get(&self, question: &Question) -> Option<&Answer> {
        self.0.get(question)?.as_ref().ok()
    }

    /// The JSON of an answer with status 200.
    #[must_use]
    pub fn json(&self, question: &Question) -> Option<&Value> {
        self.get(question).filter(|answer| answer.status == 200)?.json.as_ref()
    }

    /// Why a question has no JSON, in words.
    #[must_use]
    pub fn why_not(&self, question: &Question) -> String {
        let label = question.label();
        match self.0.get(question) {
            None => format!("{label} was not asked"),
            Some(Err(failure)) => format!("{label}: {failure}"),
            Some(Ok(answer)) if answer.status != 200 => format!("{label} answered {}", answer.status),
            Some(Ok(answer)) if answer.is_html() => format!("{label} answered with an HTML page"),
            Some(Ok(_)) => format!("{label} answered 200 without a list of models"),
        }
    }
}
