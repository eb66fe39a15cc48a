//! Which path means what, kind by kind.

use http::Method;

use crate::{dialect::Dialect, settings::Kind};

/// The meaning of a method and a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    Generate {
        dialect: Dialect,
        /// Gemini: the model and whether to stream are in the path.
        model: Option<String>,
        stream: Option<bool>,
    },
    Embed(Embed, Option<String>),
    Count(Count, Option<String>),
    Page(Page),
    Missing,
}

/// The shapes of embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Embed {
    Openai,
    Ollama,
    OllamaOld,
    Gemini,
    GeminiBatch,
}

/// The shapes of a token count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Messages,
    Gemini,
}

/// What a server tells about itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Page {
    Root,
    Health,
    Version,
    Metrics,
    Models,
    Model(String),
    Tags,
    Ps,
    Show,
    LmModels,
    LmModel(String),
    LmModelsV1,
    Props,
    Slots,
    WebSocket,
}

/// Finds the meaning; HEAD is GET.
pub(crate) fn route(kind: Kind, method: &Method, path: &str) -> Route {
    let get = method == Method::GET || method == Method::HEAD;
    if !get && method != Method::POST {
        return Route::Missing;
    }
    match kind {
        Kind::Ollama => ollama(get, path),
        Kind::LmStudio => lmstudio(get, path),
        Kind::Llamacpp => llamacpp(get, path),
        Kind::Vllm => vllm(get, path),
        Kind::Openai => openai(get, path),
        Kind::Anthropic => anthropic(get, path),
        Kind::Gemini => gemini(get, path),
    }
}

fn ollama(get: bool, path: &str) -> Route {
    match (get, path) {
        (true, "/") => Route::Page(Page::Root),
        (true, "/api/version") => Route::Page(Page::Version),
        (true, "/api/tags") => Route::Page(Page::Tags),
        (true, "/api/ps") => Route::Page(Page::Ps),
        (false, "/api/show") => Route::Page(Page::Show),
        (false, "/api/chat") => generate(Dialect::OllamaChat),
        (false, "/api/generate") => generate(Dialect::OllamaGenerate),
        (false, "/api/embed") => Route::Embed(Embed::Ollama, None),
        (false, "/api/embeddings") => Route::Embed(Embed::OllamaOld, None),
        (false, "/v1/messages") => generate(Dialect::Messages),
        (false, "/v1/responses") => generate(Dialect::Responses),
        _ => common(get, path),
    }
}

fn lmstudio(get: bool, path: &str) -> Route {
    match (get, path) {
        (true, "/api/v0/models") => Route::Page(Page::LmModels),
        (true, "/api/v1/models") => Route::Page(Page::LmModelsV1),
        (false, "/v1/responses") => generate(Dialect::Responses),
        (false, "/v1/messages") => generate(Dialect::Messages),
        (false, "/api/v0/chat/completions") => generate(Dialect::Chat),
        (false, "/api/v0/completions") => generate(Dialect::Completions),
        (false, "/api/v0/embeddings") => Route::Embed(Embed::Openai, None),
        _ => match path.strip_prefix("/api/v0/models/") {
            Some(model) if get => Route::Page(Page::LmModel(decode(model))),
            _ => common(get, path),
        },
    }
}

fn llamacpp(get: bool, path: &str) -> Route {
    match (get, path) {
        (true, "/props") => Route::Page(Page::Props),
        (true, "/slots") => Route::Page(Page::Slots),
        (true, "/health" | "/v1/health") => Route::Page(Page::Health),
        (true, "/metrics") => Route::Page(Page::Metrics),
        (true, "/models") => Route::Page(Page::Models),
        (false, "/chat/completions") => generate(Dialect::Chat),
        (false, "/v1/responses") => generate(Dialect::Responses),
        (false, "/v1/messages") => generate(Dialect::Messages),
        (false, "/v1/messages/count_tokens") => Route::Count(Count::Messages, None),
        // The router mode alone answers for a single model.
        _ if path.starts_with("/v1/models/") => Route::Missing,
        _ => common(get, path),
    }
}

fn vllm(get: bool, path: &str) -> Route {
    match (get, path) {
        (true, "/version") => Route::Page(Page::Version),
        (true, "/health" | "/ping") => Route::Page(Page::Health),
        (true, "/metrics") => Route::Page(Page::Metrics),
        (false, "/v1/responses") => generate(Dialect::Responses),
        (false, "/v1/messages") => generate(Dialect::Messages),
        (false, "/v1/messages/count_tokens") => Route::Count(Count::Messages, None),
        _ if path.starts_with("/v1/models/") => Route::Missing,
        _ => common(get, path),
    }
}

fn openai(get: bool, path: &str) -> Route {
    match (get, path) {
        (false, "/v1/responses") => generate(Dialect::Responses),
        (true, "/v1/responses") => Route::Page(Page::WebSocket),
        _ => common(get, path),
    }
}

fn anthropic(get: bool, path: &str) -> Route {
    match (get, path) {
        (true, "/v1/models") => Route::Page(Page::Models),
        (false, "/v1/messages") => generate(Dialect::Messages),
        (false, "/v1/messages/count_tokens") => Route::Count(Count::Messages, None),
        _ => match path.strip_prefix("/v1/models/") {
            Some(model) if get => Route::Page(Page::Model(decode(model))),
            _ => Route::Missing,
        },
    }
}

fn gemini(get: bool, path: &str) -> Route {
    let Some(rest) =
        ["/v1beta/models", "/v1/models", "/v1beta1/models"].iter().find_map(|p| path.strip_prefix(p))
    else {
        return Route::Missing;
    };
    if get {
        return match rest.strip_prefix('/') {
            None if rest.is_empty() => Route::Page(Page::Models),
            Some(model) => Route::Page(Page::Model(decode(model))),
            None => Route::Missing,
        };
    }
    let Some((model, method)) = rest.strip_prefix('/').and_then(|rest| rest.rsplit_once(':')) else {
        return Route::Missing;
    };
    let model = Some(decode(model));
    let dialect = Dialect::Gemini;
    match method {
        "generateContent" => Route::Generate { dialect, model, stream: Some(false) },
        "streamGenerateContent" => Route::Generate { dialect, model, stream: Some(true) },
        "embedContent" => Route::Embed(Embed::Gemini, model),
        "batchEmbedContents" => Route::Embed(Embed::GeminiBatch, model),
        "countTokens" => Route::Count(Count::Gemini, model),
        _ => Route::Missing,
    }
}

/// What every OpenAI-compatible server has.
fn common(get: bool, path: &str) -> Route {
    match (get, path) {
        (true, "/v1/models") => Route::Page(Page::Models),
        (false, "/v1/chat/completions") => generate(Dialect::Chat),
        (false, "/v1/completions") => generate(Dialect::Completions),
        (false, "/v1/embeddings") => Route::Embed(Embed::Openai, None),
        _ => match path.strip_prefix("/v1/models/") {
            Some(model) if get => Route::Page(Page::Model(decode(model))),
            _ => Route::Missing,
        },
    }
}

fn generate(dialect: Dialect) -> Route {
    Route::Generate { dialect, model: None, stream: None }
}

/// Percent-decodes; what is not a valid escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_what_each_kind_means_by_them() {
        let page = |page| Route::Page(page);
        let gemini = |stream| Route::Generate {
            dialect: Dialect::Gemini,
            model: Some("a/b:c".to_owned()),
            stream: Some(stream),
        };
        for (kind, method, path, expect) in [
            (Kind::Ollama, Method::HEAD, "/", page(Page::Root)),
            (Kind::Ollama, Method::GET, "/api/chat", Route::Missing),
            (Kind::Ollama, Method::POST, "/api/chat", generate(Dialect::OllamaChat)),
            (Kind::Vllm, Method::POST, "/api/chat", Route::Missing),
            (Kind::Openai, Method::GET, "/v1/models/a%2Fb:c", page(Page::Model("a/b:c".to_owned()))),
            (Kind::Openai, Method::POST, "/v1/messages", Route::Missing),
            (Kind::Openai, Method::DELETE, "/v1/models", Route::Missing),
            (Kind::Anthropic, Method::POST, "/v1/chat/completions", Route::Missing),
            (Kind::Gemini, Method::POST, "/v1/models/a%2Fb:c:generateContent", gemini(false)),
            (Kind::Gemini, Method::POST, "/v1beta/models/a/b:c:streamGenerateContent", gemini(true)),
            (Kind::Gemini, Method::POST, "/v1beta/models/m", Route::Missing),
            (Kind::Gemini, Method::GET, "/v1beta/modelsx", Route::Missing),
            (Kind::Llamacpp, Method::GET, "/slots", page(Page::Slots)),
            (Kind::LmStudio, Method::GET, "/api/v0/models", page(Page::LmModels)),
        ] {
            assert_eq!(route(kind, &method, path), expect, "{kind} {method} {path}");
        }
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(decode("a%2Fb%zz%4"), "a/b%zz%4");
    }
}
