//! The routes of one listener, on which all dialects meet.

use std::borrow::Cow;

use crate::dialect::{Dialect, Operation};
use crate::list::ListStyle;

/// What a request line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A request for a server.
    Call {
        /// What is asked.
        operation: Operation,
        /// The model, where the path names it; percent-decoded.
        model: Option<String>,
        /// The path had the prefix `/v1` (for Gemini: not `/v1beta`).
        prefix_v1: bool,
    },
    /// The list of models.
    Models {
        /// Whose list.
        style: ListStyle,
    },
    /// One model.
    Model {
        /// Its name, percent-decoded.
        id: String,
        /// Whose object.
        style: ListStyle,
    },
    /// Ollama's list of models.
    Tags,
    /// Ollama's list of loaded models.
    Ps,
    /// Ollama's version.
    OllamaVersion,
    /// LM Studio's list of models.
    LmStudioModels,
    /// The root page.
    Root,
    /// Liveness.
    Live,
    /// Readiness.
    Ready,
    /// A WebSocket is wanted where only POST is served: 426.
    UpgradeRequired,
    /// A known path under another method: 405.
    MethodNotAllowed {
        /// Whose error body.
        dialect: Dialect,
        /// The methods that are allowed, for the `allow` header.
        allow: &'static str,
    },
    /// A known path that is not served: 501.
    Unsupported {
        /// Whose error body.
        dialect: Dialect,
    },
    /// An unknown path: 404.
    Unknown {
        /// Whose error body, as well as the path tells.
        dialect: Dialect,
    },
}

/// How an answer is cut into elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Framing {
    /// One JSON value.
    Whole,
    /// Server-sent events.
    Sse,
    /// One JSON value a line.
    Lines,
    /// One JSON array that grows (Gemini without `alt=sse`).
    Array,
}

/// The framing of the answer to an operation.
pub fn framing(operation: Operation, stream: bool, query: Option<&str>) -> Framing {
    match operation {
        Operation::StreamGenerateContent if parameter(query, "alt") == Some("sse") => Framing::Sse,
        Operation::StreamGenerateContent => Framing::Array,
        Operation::OllamaChat | Operation::OllamaGenerate if stream => Framing::Lines,
        Operation::Chat | Operation::Responses | Operation::Completions | Operation::Messages if stream => {
            Framing::Sse
        }
        _ => Framing::Whole,
    }
}

/// What the request line asks for; `path` is raw, without the query.
pub fn target(method: &str, path: &str, query: Option<&str>) -> Target {
    let path = squeezed(path);
    let (base, rest) = split(&path);
    if base == Base::Root
        && let Some(page) = page(method, rest)
    {
        return page;
    }
    call(method, base, rest)
        .or_else(|| listing(method, base, rest, query))
        .or_else(|| unserved(base, rest))
        .unwrap_or(Target::Unknown { dialect: guess(base, rest) })
}

/// The family of paths that a prefix names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Base {
    Root,
    V1,
    V1beta,
    Openai,
    Anthropic,
    Ollama,
    LmStudio,
}

/// Prefixes, longer ones before the shorter ones that they start with.
const PREFIXES: [(&str, Base); 8] = [
    ("/anthropic", Base::Anthropic),
    ("/openai", Base::Openai),
    ("/v1beta1", Base::V1beta),
    ("/v1beta", Base::V1beta),
    ("/v1", Base::V1),
    ("/api/v0", Base::LmStudio),
    ("/api/v1", Base::LmStudio),
    ("/api", Base::Ollama),
];

/// Prefixes may be doubled (`/v1/v1`), not more often than a client could mean.
const PREFIXES_MAX: usize = 4;

/// Without doubled and trailing slashes.
fn squeezed(path: &str) -> Cow<'_, str> {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    if path.is_empty() {
        return Cow::Borrowed("/");
    }
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut squeezed = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        squeezed.push('/');
        squeezed.push_str(part);
    }
    if squeezed.is_empty() {
        squeezed.push('/');
    }
    Cow::Owned(squeezed)
}

fn split(path: &str) -> (Base, &str) {
    let mut base = Base::Root;
    let mut rest = path;
    for _ in 0..PREFIXES_MAX {
        let found = PREFIXES.iter().find_map(|(prefix, family)| {
            let behind = rest.strip_prefix(prefix)?;
            (behind.is_empty() || behind.starts_with('/')).then_some((*family, behind))
        });
        let Some((family, behind)) = found else { break };
        // `/anthropic/v1` stays Anthropic's, `/v1/api` is Ollama's.
        if family != Base::V1 || base == Base::Root {
            base = family;
        }
        rest = behind;
    }
    (base, rest)
}

fn page(method: &str, rest: &str) -> Option<Target> {
    let page = match rest {
        "/" => Target::Root,
        "/health" | "/healthz" | "/livez" => Target::Live,
        "/ready" | "/readyz" => Target::Ready,
        _ => return None,
    };
    Some(get(method, Dialect::OpenaiChat, page))
}

fn call(method: &str, base: Base, rest: &str) -> Option<Target> {
    if let Some(deployment) = rest.strip_prefix("/deployments/").filter(|_| base == Base::Openai) {
        return azure(method, deployment);
    }
    if let Some(model) = rest.strip_prefix("/models/").or(rest.strip_prefix("/tunedModels/"))
        && let Some(found) = gemini(method, base, model)
    {
        return Some(found);
    }
    let ollama = base == Base::Ollama;
    let operation = match rest {
        "/chat/completions" => Operation::Chat,
        "/responses" if is_get(method) => return Some(Target::UpgradeRequired),
        "/responses" => Operation::Responses,
        "/completions" => Operation::Completions,
        "/embeddings" if ollama => Operation::OllamaEmbeddings,
        "/embeddings" => Operation::Embeddings,
        "/messages" => Operation::Messages,
        "/messages/count_tokens" => Operation::CountTokens,
        "/chat" if ollama => Operation::OllamaChat,
        "/generate" if ollama => Operation::OllamaGenerate,
        "/embed" if ollama => Operation::OllamaEmbed,
        "/show" if ollama => Operation::OllamaShow,
        _ => return None,
    };
    Some(post(method, operation, None, base == Base::V1))
}

/// `{deployment}/{chat/completions|completions|embeddings}`
fn azure(method: &str, rest: &str) -> Option<Target> {
    let (deployment, tail) = rest.split_once('/')?;
    let operation = match tail {
        "chat/completions" => Operation::Chat,
        "completions" => Operation::Completions,
        "embeddings" => Operation::Embeddings,
        _ => return Some(Target::Unsupported { dialect: Dialect::OpenaiChat }),
    };
    Some(post(method, operation, Some(decode(deployment)?), false))
}

/// `{model}:{method}`; the model may hold colons itself, so the last one separates.
fn gemini(method: &str, base: Base, rest: &str) -> Option<Target> {
    let (model, verb) = rest.rsplit_once(':')?;
    let operation = match verb {
        "generateContent" => Operation::GenerateContent,
        "streamGenerateContent" => Operation::StreamGenerateContent,
        "embedContent" => Operation::EmbedContent,
        "batchEmbedContents" => Operation::BatchEmbedContents,
        "countTokens" => Operation::GeminiCountTokens,
        "predict" | "predictLongRunning" | "asyncBatchEmbedContent" | "batchGenerateContent" => {
            return Some(Target::Unsupported { dialect: Dialect::Gemini });
        }
        _ if base == Base::V1beta && !is_get(method) => {
            return Some(Target::Unknown { dialect: Dialect::Gemini });
        }
        _ => return None,
    };
    Some(match decode(model) {
        Some(model) => post(method, operation, Some(model), base == Base::V1),
        None => Target::Unknown { dialect: Dialect::Gemini },
    })
}

fn listing(method: &str, base: Base, rest: &str, query: Option<&str>) -> Option<Target> {
    let ollama = base == Base::Ollama;
    let found = match rest {
        "/models" if base == Base::LmStudio => Target::LmStudioModels,
        "/models" => Target::Models { style: style(base, query) },
        "/tags" if ollama => Target::Tags,
        "/ps" if ollama => Target::Ps,
        "/version" if ollama => Target::OllamaVersion,
        _ => {
            let id = decode(rest.strip_prefix("/models/")?)?;
            Target::Model { id, style: style(base, query) }
        }
    };
    Some(get(method, guess(base, rest), found))
}

fn style(base: Base, query: Option<&str>) -> ListStyle {
    if parameter(query, "client_version").is_some() {
        ListStyle::Codex
    } else if base == Base::V1beta
        || parameter(query, "key").is_some()
        || parameter(query, "pageSize").is_some()
    {
        ListStyle::Gemini
    } else if base == Base::Anthropic {
        ListStyle::Anthropic
    } else {
        ListStyle::Openai
    }
}

/// First words of paths that the dialects have and that are not served here.
const UNSERVED_OPENAI: [&str; 31] = [
    "responses",
    "audio",
    "images",
    "videos",
    "files",
    "uploads",
    "batches",
    "moderations",
    "fine_tuning",
    "assistants",
    "threads",
    "vector_stores",
    "realtime",
    "conversations",
    "containers",
    "evals",
    "organization",
    "rerank",
    "score",
    "classify",
    "pooling",
    "tokenize",
    "detokenize",
    "fim",
    "infill",
    "completion",
    "props",
    "slots",
    "edits",
    "chat",
    "apply-template",
];

const UNSERVED_OLLAMA: [&str; 7] = ["pull", "push", "create", "copy", "delete", "blobs", "me"];

const UNSERVED_GEMINI: [&str; 6] =
    ["files", "cachedContents", "tunedModels", "corpora", "batches", "operations"];

fn unserved(base: Base, rest: &str) -> Option<Target> {
    let mut words = rest.strip_prefix('/')?.split('/');
    let first = words.next()?;
    let dialect = match base {
        Base::Ollama if UNSERVED_OLLAMA.contains(&first) => Dialect::Ollama,
        Base::V1beta if UNSERVED_GEMINI.contains(&first) => Dialect::Gemini,
        Base::V1 | Base::Anthropic | Base::Root
            if first == "complete" || (first == "messages" && words.next() == Some("batches")) =>
        {
            Dialect::Anthropic
        }
        Base::V1 | Base::Openai | Base::Root | Base::LmStudio if UNSERVED_OPENAI.contains(&first) => {
            guess(base, rest)
        }
        _ => return None,
    };
    Some(Target::Unsupported { dialect })
}

fn guess(base: Base, rest: &str) -> Dialect {
    match base {
        Base::Ollama if rest.starts_with("/chat/") => Dialect::OpenaiChat,
        Base::Ollama => Dialect::Ollama,
        Base::Anthropic => Dialect::Anthropic,
        Base::V1beta => Dialect::Gemini,
        _ if rest.starts_with("/messages") => Dialect::Anthropic,
        _ if rest.starts_with("/responses") => Dialect::OpenaiResponses,
        _ if rest.starts_with("/embeddings") => Dialect::OpenaiEmbeddings,
        _ if rest == "/completions" => Dialect::OpenaiCompletions,
        _ => Dialect::OpenaiChat,
    }
}

fn is_get(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

fn get(method: &str, dialect: Dialect, found: Target) -> Target {
    if is_get(method) { found } else { Target::MethodNotAllowed { dialect, allow: "GET, HEAD" } }
}

fn post(method: &str, operation: Operation, model: Option<String>, prefix_v1: bool) -> Target {
    if method == "POST" {
        Target::Call { operation, model, prefix_v1 }
    } else {
        Target::MethodNotAllowed { dialect: operation.dialect(), allow: "POST" }
    }
}

/// The raw value of a query parameter.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// Percent-decoded; `None` where the result is no UTF-8 or an escape is broken.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let pair = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(pair, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}
