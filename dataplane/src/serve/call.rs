//! A request that a backend answers: read, routed, queued, sent, relayed.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sched::{Outcome, Refusal};
use wire::{Ask, Edits, Fault, First, Framing, Operation};

use super::{
    Body, Worker, intake, local,
    target::{Inquiry, fault, json},
};
use crate::{
    config::{Backend, Kind},
    dispatch::Lease,
    provider,
    relay::{Passage, Relay},
    route::{Candidate, NoRoute},
    upstream::{UpstreamError, Wire},
};

mod place;

/// From the last byte of the request to the head of the answer: covers loading a model and a long prompt.
const HEAD_TIMEOUT: Duration = Duration::from_secs(600);
/// A stream whose first element has not come by then is begun towards the client.
const PEEK_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes read in search of the end of the first element.
const PEEK_BYTES_MAX: usize = 64 * 1024;
const BACKEND: HeaderName = HeaderName::from_static("x-llmb-backend");
const MODEL: HeaderName = HeaderName::from_static("x-llmb-model");

/// A request and what was read of it.
struct Call {
    operation: Operation,
    head: Parts,
    body: Bytes,
    ask: Ask,
    framing: Framing,
}

/// Answers a call; faults are said in the client's dialect.
pub async fn answer(
    worker: &Rc<Worker>,
    inquiry: &Inquiry,
    operation: Operation,
    model: Option<String>,
    request: Request<Incoming>,
) -> Response<Body> {
    let gone = Gone { worker, armed: true };
    let answered = serve(worker, inquiry, operation, model, request).await;
    gone.disarm();
    match answered {
        Ok(response) => response,
        Err(refused) => {
            let dialect = operation.dialect();
            worker.shared.report.ended(operation.name(), "", refused.status(dialect));
            let (id, status) = (&inquiry.id, refused.status(dialect));
            tracing::debug!(request_id = %id, operation = operation.name(), status, "refused");
            fault(&refused, dialect, id)
        }
    }
}

/// Counts a client that left before it had the head of an answer.
struct Gone<'a> {
    worker: &'a Worker,
    armed: bool,
}

impl Gone<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.worker.shared.report.left();
        }
    }
}

async fn serve(
    worker: &Rc<Worker>,
    inquiry: &Inquiry,
    operation: Operation,
    model: Option<String>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Fault> {
    let (head, body) = request.into_parts();
    let body = intake::read(&head.headers, body, worker.shared.limits.body_bytes_max).await?;
    let ask = wire::read(operation, model.as_deref(), &body)
        .map_err(|refused| Fault::BadRequest { message: refused.to_string() })?;
    let framing = wire::framing(operation, ask.stream, head.uri.query());
    let call = Call { operation, head, body, ask, framing };
    let snapshot = worker.shared.snapshot.load_full();
    let candidates = match snapshot.table.candidates(&call.ask.model, operation.dialect()) {
        Ok(candidates) => candidates,
        // Ollama's clients ask for every model that they saw listed, whoever serves it.
        Err(NoRoute::OtherDialect { .. }) if operation == Operation::OllamaShow => {
            return local::show(&snapshot, &call.ask.model);
        }
        Err(none) => return Err(no_route(&call.ask.model, none)),
    };
    let (chosen, lease) = if operation.takes_slot() {
        let (chosen, lease) = place::slot(worker, inquiry, &call.ask, &candidates).await?;
        (chosen, Some(lease))
    } else {
        (place::any(&snapshot, &call.ask.model, &candidates)?, None)
    };
    forward(worker, inquiry, call, chosen, lease).await
}

fn no_route(model: &str, none: NoRoute) -> Fault {
    let model = model.to_owned();
    match none {
        NoRoute::Unknown { hint } => Fault::UnknownModel { model, hint: Some(hint) },
        NoRoute::OtherDialect { spoken } => {
            let needs = spoken.iter().map(|dialect| dialect.name().to_owned()).collect();
            Fault::WrongDialect { model, needs }
        }
    }
}

async fn forward(
    worker: &Rc<Worker>,
    inquiry: &Inquiry,
    call: Call,
    chosen: &Candidate,
    mut lease: Option<Lease>,
) -> Result<Response<Body>, Fault> {
    let backend = &chosen.backend;
    let (request, strip) = upstream_request(&call, chosen)?;
    // From here on the engine may be at work until the connection closes.
    if let Some(lease) = &mut lease {
        lease.outcome = Outcome::Aborted;
    }
    let sent = tokio::time::timeout(HEAD_TIMEOUT, worker.pool.send(&backend.base, &request)).await;
    let (answer, wire) = match sent {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unanswered(backend, &error, lease)),
        Err(_) => {
            let what = format!("no answer within {} s", HEAD_TIMEOUT.as_secs());
            return Err(Fault::UpstreamTimeout { backend: backend.name.to_string(), what });
        }
    };
    relay(worker, inquiry, call, chosen, (answer, wire), lease, strip).await
}

fn unanswered(backend: &Backend, error: &UpstreamError, lease: Option<Lease>) -> Fault {
    tracing::warn!(backend = %backend.name, %error, "a request got no answer");
    let unsent = matches!(error, UpstreamError::Connect(_) | UpstreamError::ConnectTimeout);
    if let Some(mut lease) = lease {
        lease.outcome = if unsent { Outcome::Unsent } else { Outcome::Failed };
    }
    let name = backend.name.to_string();
    if unsent {
        Fault::UpstreamConnect { backend: name }
    } else {
        Fault::UpstreamBroken { backend: name, what: error.to_string() }
    }
}

/// The client's bytes with the edits of the pass lane; says whether the usage chunk must be taken out of the answer.
fn upstream_request(call: &Call, chosen: &Candidate) -> Result<(Request<Bytes>, bool), Fault> {
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

async fn relay(
    worker: &Rc<Worker>,
    inquiry: &Inquiry,
    call: Call,
    chosen: &Candidate,
    (answer, wire): (Response<Incoming>, Wire),
    mut lease: Option<Lease>,
    strip: bool,
) -> Result<Response<Body>, Fault> {
    let (head, mut upstream) = answer.into_parts();
    let backend = &chosen.backend;
    let refused = matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if refused {
        tracing::warn!(backend = %backend.name, status = head.status.as_u16(), "the backend refuses our credential");
        return Err(Fault::UpstreamAuth { backend: backend.name.to_string() });
    }
    if head.status.is_redirection() {
        let what = format!("status {}: redirects are not followed", head.status.as_u16());
        return Err(Fault::UpstreamBroken { backend: backend.name.to_string(), what });
    }
    let readable = !head.headers.contains_key(header::CONTENT_ENCODING);
    let judged = head.status.is_success() && readable;
    let mut seen = Vec::new();
    if judged && call.framing != Framing::Whole {
        let peeked = tokio::time::timeout(PEEK_TIMEOUT, peek(&call, &mut upstream, &mut seen)).await;
        match peeked {
            Ok(Peeked::Begun) | Err(_) => {}
            Ok(Peeked::Refused { status, message }) => {
                if let Some(lease) = &mut lease {
                    lease.outcome = Outcome::Failed;
                }
                worker.shared.report.ended(call.operation.name(), &backend.name, status);
                let body = wire::relay_error(call.operation.dialect(), status, &message, &inquiry.id);
                return Ok(json(status, body));
            }
            Ok(Peeked::Broken { what }) => {
                if let Some(lease) = &mut lease {
                    lease.outcome = Outcome::Failed;
                }
                return Err(Fault::UpstreamBroken { backend: backend.name.to_string(), what });
            }
        }
    }
    let strip = strip && judged;
    let mut response = Response::builder().status(head.status);
    if let Some(headers) = response.headers_mut() {
        *headers = provider::answer_headers(&head.headers, !strip);
        name(headers, BACKEND, &backend.name);
        name(headers, MODEL, &chosen.model);
    }
    let passage = Passage {
        shared: worker.shared.clone(),
        pool: worker.pool.clone(),
        backend: backend.name.clone(),
        operation: call.operation,
        framing: call.framing,
        choices: call.ask.choices,
        request_id: inquiry.id.clone(),
        arrival: inquiry.arrival,
        judged,
        strip,
        status: head.status.as_u16(),
    };
    let body = Body::Relay(Box::new(Relay::new(passage, upstream, seen, wire, lease)));
    response.body(body).map_err(|_| Fault::Internal)
}

fn name(headers: &mut http::HeaderMap, header: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(header, value);
    }
}

/// What the start of a stream shows.
enum Peeked {
    /// It may be relayed.
    Begun,
    /// Its first element is an error, though its status was good.
    Refused {
        /// What the client gets instead.
        status: u16,
        /// As the server says it.
        message: String,
    },
    /// It ended before its first element.
    Broken {
        /// How.
        what: String,
    },
}

/// Reads until the first element of a stream is known.
async fn peek(call: &Call, upstream: &mut Incoming, seen: &mut Vec<Bytes>) -> Peeked {
    let mut so_far = Vec::new();
    while so_far.len() < PEEK_BYTES_MAX {
        let chunk = match upstream.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => return Peeked::Broken { what: error.to_string() },
            None => return Peeked::Broken { what: "the stream ended before its first element".to_owned() },
        };
        so_far.extend_from_slice(&chunk);
        seen.push(chunk);
        match wire::first_element(call.operation, call.framing, &so_far) {
            First::More => {}
            First::Content => return Peeked::Begun,
            First::Error { status, message } => return Peeked::Refused { status, message },
        }
    }
    Peeked::Begun
}

/// Why the core refuses, as the client hears it.
fn refusal(model: &str, why: &Refusal) -> Fault {
    let model = model.to_owned();
    match why {
        Refusal::QueueFull { waiting } => Fault::QueueFull { waiting: *waiting as u64, retry_after_s: 5 },
        Refusal::Deadline { waited } => Fault::QueueDeadline { waited_ms: waited.0 / 1000, retry_after_s: 5 },
        Refusal::TooLong { estimate, limit } => {
            Fault::TooLong { estimate: u64::from(*estimate), limit: u64::from(*limit) }
        }
        Refusal::NoCandidate => {
            Fault::NoBackend { model, reason: "its backends are gone".to_owned(), retry_after_s: 5 }
        }
        Refusal::Unhealthy => {
            Fault::NoBackend { model, reason: "all its backends are down".to_owned(), retry_after_s: 5 }
        }
        Refusal::Draining => {
            Fault::NoBackend { model, reason: "all its backends are draining".to_owned(), retry_after_s: 30 }
        }
        Refusal::Spare => Fault::Spare,
    }
}
