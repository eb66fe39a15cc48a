//! What is sent to a backend: the client's bytes with the edits of the pass lane.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;
use wire::{Dialect, Edits, Fault, Framing};

use super::Call;
use crate::{
    config::{Backend, Kind},
    provider,
    route::Candidate,
};

/// A request for one backend, made anew each time that it is sent: a connection that was closed while it idled takes
/// the first one with it.
#[derive(Debug)]
pub struct Outgoing<'a> {
    target: Uri,
    client: &'a HeaderMap,
    backend: &'a Backend,
    dialect: Dialect,
    body: Bytes,
    /// The usage chunk must be taken out of the answer.
    pub strip: bool,
}

impl<'a> Outgoing<'a> {
    /// What `call` is to `chosen`.
    ///
    /// # Errors
    /// When the model's name there makes no path.
    pub fn new(call: &'a Call, chosen: &'a Candidate) -> Result<Self, Fault> {
        let backend = &*chosen.backend;
        let foreign = !matches!(backend.kind, Kind::Anthropic);
        // llama.cpp tells timings in its last chunk unasked, and in one that would be taken out when asked.
        let want_usage = !matches!(backend.kind, Kind::Llamacpp);
        let edits = Edits::plan(call.operation, &call.ask, &chosen.model, want_usage, foreign);
        Ok(Self {
            target: target(call, chosen)?,
            client: &call.head.headers,
            backend,
            dialect: call.operation.dialect(),
            strip: edits.added_usage() && call.framing == Framing::Sse,
            body: edits.apply(call.body.clone()),
        })
    }

    /// The request itself.
    pub fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = provider::request_headers(self.client, self.backend, self.dialect);
        request
    }
}

fn target(call: &Call, chosen: &Candidate) -> Result<Uri, Fault> {
    let prefix = &chosen.backend.base.prefix;
    let path = call.operation.path(&chosen.model);
    let asked = &call.head.uri;
    if prefix.is_empty() && asked.path() == path && asked.query().is_none() {
        return Ok(asked.clone());
    }
    let target = format!("{prefix}{path}{}", kept_query(asked.query()));
    target
        .parse()
        .map_err(|_| Fault::BadRequest { message: format!("model: {:?} makes no valid path", chosen.model) })
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
