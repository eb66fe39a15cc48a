//! How one request is answered.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, request::Parts};
use serde_json::{Value, json};

use crate::{
    admin, ask,
    fault::Fault,
    flow::{Answer, full},
    pages,
    route::{Count, Route, route},
    server::Server,
    settings::Kind,
    spoil,
    stats::{Entry, Seen, now_us},
    text,
    trouble::{self, Surface, Trouble},
    work,
};

/// Why there is no response of the usual kind.
#[derive(Debug)]
pub(crate) enum Fail {
    /// An error in the shape of the kind.
    Trouble(Trouble),
    /// The connection breaks.
    Broken,
    /// The connection is reset.
    Reset,
}

impl From<Trouble> for Fail {
    fn from(trouble: Trouble) -> Self {
        Fail::Trouble(trouble)
    }
}

/// The connection breaks instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// It ends.
    #[error("the connection is broken on purpose")]
    Cut,
    /// It is reset.
    #[error("the connection is reset on purpose")]
    Reset,
}

/// A request that has been read.
pub(crate) struct Request {
    pub parts: Parts,
    pub route: Route,
    pub surface: Surface,
    /// The query has `alt=sse`.
    pub sse: bool,
    /// Null for GET.
    pub body: Value,
    /// What goes wrong with it.
    pub fault: Option<Fault>,
}

/// Answers one request.
pub(crate) async fn answer(
    server: Arc<Server>,
    parts: Parts,
    bytes: Bytes,
) -> Result<Response<Answer>, Broken> {
    let kind = server.settings.kind;
    if let Some(path) = parts.uri.path().strip_prefix("/_sim/") {
        return Ok(admin::answer(&server, &parts.method, path, &bytes));
    }
    let route = route(kind, &parts.method, parts.uri.path());
    let sse = parts.uri.query().unwrap_or_default().split('&').any(|pair| pair == "alt=sse");
    let surface = surface(kind, parts.uri.path(), &route, sse);
    let body = match bytes.is_empty() && parts.method != http::Method::POST {
        true => Ok(Value::Null),
        false => serde_json::from_slice(&bytes),
    };
    let entry = record(&server, &parts, &route, body.as_ref().unwrap_or(&Value::Null), bytes);
    let fault = server.strike(entry.is_some(), false);
    if let Some(fault) = &fault
        && let Some(response) = spoil::instead(kind, surface, fault)
    {
        return Ok(response);
    }
    let outcome = match (admit(&server, &parts), body) {
        (Err(trouble), _) => Err(trouble.into()),
        (_, Err(error)) => Err(Trouble::Invalid(format!("the body is not valid JSON: {error}")).into()),
        (Ok(()), Ok(body)) => {
            let request = Request { parts, route, surface, sse, body, fault: fault.clone() };
            match entry {
                Some(entry) => work::work(&server, entry, &request).await,
                None => tell(&server, &request).map_err(Fail::from),
            }
        }
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(Fail::Trouble(trouble)) => trouble::answer(kind, surface, &trouble),
        Err(Fail::Broken) => return Err(Broken::Cut),
        Err(Fail::Reset) => return Err(Broken::Reset),
    };
    if let (Some(fault), None) = (fault, entry) {
        response = spoil::page(response, &fault).await?;
    }
    Ok(response)
}

fn record(server: &Server, parts: &Parts, route: &Route, body: &Value, bytes: Bytes) -> Option<Entry> {
    let in_path = match route {
        Route::Generate { model, .. } | Route::Embed(_, model) | Route::Count(_, model) => model.as_deref(),
        _ => None,
    };
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let mut seen = Seen {
        path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        model: in_path.or(body["model"].as_str()).unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: bytes,
        prompt_tokens: 0,
        cached_tokens: 0,
        start_us: now_us(),
        end_us: None,
        aborted: false,
    };
    if matches!(route, Route::Generate { .. } | Route::Embed(..)) {
        return Some(server.record.arrive(seen));
    }
    seen.end_us = Some(seen.start_us);
    server.record.other(seen);
    None
}

/// Login, llama.cpp's loading, Anthropic's version.
fn admit(server: &Server, parts: &Parts) -> Result<(), Trouble> {
    let kind = server.settings.kind;
    let path = parts.uri.path();
    let public = match kind {
        Kind::Llamacpp => matches!(path, "/health" | "/v1/health"),
        Kind::Vllm => !path.starts_with("/v1"),
        _ => false,
    };
    if let Some(key) = &server.settings.api_key
        && !public
        && !shows(kind, &parts.headers, parts.uri.query().unwrap_or_default(), key)
    {
        return Err(Trouble::Unauthorized);
    }
    if server.loading() {
        return Err(Trouble::Loading);
    }
    if kind == Kind::Anthropic && !parts.headers.contains_key("anthropic-version") {
        return Err(Trouble::Invalid("anthropic-version: header is required".to_owned()));
    }
    Ok(())
}

/// Whether a request shows the key where its kind looks for one.
fn shows(kind: Kind, headers: &HeaderMap, query: &str, key: &str) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer ")) == Some(key);
    match kind {
        Kind::Anthropic | Kind::Llamacpp => bearer || header("x-api-key") == Some(key),
        Kind::Gemini => {
            let mut in_query = query.split('&').filter_map(|pair| pair.strip_prefix("key="));
            bearer || header("x-goog-api-key") == Some(key) || in_query.next_back() == Some(key)
        }
        _ => bearer,
    }
}

fn surface(kind: Kind, path: &str, route: &Route, sse: bool) -> Surface {
    let is_stream = matches!(route, Route::Generate { stream: Some(true), .. });
    match kind {
        Kind::Gemini if is_stream && !sse => Surface::GeminiArray,
        Kind::Gemini => Surface::Native,
        Kind::Anthropic => Surface::Anthropic,
        Kind::Ollama if !path.starts_with("/v1/") => Surface::Native,
        _ if path.starts_with("/v1/messages") => Surface::Anthropic,
        _ => Surface::Openai,
    }
}

/// Answers what needs no slot.
fn tell(server: &Server, request: &Request) -> Result<Response<Answer>, Trouble> {
    match &request.route {
        Route::Page(page) => pages::page(server, page, &request.body),
        Route::Count(shape, model) => {
            server.model(model.as_deref().or(request.body["model"].as_str()).unwrap_or_default())?;
            Ok(full(200, "application/json", count(*shape, &request.body).to_string()))
        }
        _ => {
            let (method, path) = (request.parts.method.to_string(), request.parts.uri.path().to_owned());
            Err(Trouble::NoPath(method, path))
        }
    }
}

fn count(shape: Count, body: &Value) -> Value {
    let tokens = |texts: &[&Value]| {
        let bytes = texts.iter().map(|value| ask::one(value).len()).sum();
        text::tokens(bytes).max(1)
    };
    match shape {
        Count::Messages => json!({"input_tokens": tokens(&[&body["system"], &body["messages"]])}),
        Count::Gemini => {
            let inner = ask::either(body, "generateContentRequest", "generate_content_request");
            let system = ask::either(inner, "systemInstruction", "system_instruction");
            let total = tokens(&[&body["contents"], system, &inner["contents"]]);
            json!({
                "totalTokens": total, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}],
            })
        }
    }
}
