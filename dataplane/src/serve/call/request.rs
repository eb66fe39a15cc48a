//! What is sent to a backend: the client's bytes with the edits of the pass lane.

use bytes::Bytes;
use http::{Method, Request};
use wire::{Edits, Fault, Framing};

use super::Call;
use crate::{config::Kind, provider, route::Candidate};

/// The request for `chosen`; says whether the usage chunk must be taken out of the answer.
pub fn build(call: &Call, chosen: &Candidate) -> Result<(Request<Bytes>, bool), Fault> {
    let backend = &chosen.backend;
    let dialect = call.operation.dialect();
    let foreign = !matches!(backend.kind, Kind::Anthropic);
    // llama.cpp tells timings in its last chunk unasked, and in one that would be taken out when asked.
    let want_usage = !matches!(backend.kind, Kind::Llamacpp);
    let edits = Edits::plan(call.operation, &call.ask, &chosen.model, want_usage, foreign);
    let strip = edits.added_usage() && call.framing == Framing::Sse;
    let mut request = Request::new(edits.apply(call.body.clone()));
    *request.method_mut() = Method::POST;
    let path = call.operation.path(&chosen.model);
    let query = kept_query(call.head.uri.query());
    let target = format!("{}{path}{query}", backend.base.prefix);
    *request.uri_mut() = target.parse().map_err(|_| Fault::BadRequest {
        message: format!("model: {:?} makes no valid path", chosen.model),
    })?;
    *request.headers_mut() = provider::request_headers(&call.head.headers, backend, dialect);
    Ok((request, strip))
}

/// The client's query, less the credential that Gemini clients put there.
fn kept_query(query: Option<&str>) -> String {
    let kept: Vec<&str> = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && *pair != "key" && !pair.starts_with("key="))
        .collect();
    if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) }
}
