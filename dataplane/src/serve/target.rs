//! What a path asks for, and the shape of every answer that is our own.

use std::{
    cell::{Cell, OnceCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use sched::TicketId;
use wire::{Dialect, Fault, Operation, Target};

use super::{Body, RequestId, Shared, Worker, call, forward, local};
use crate::{
    deadline::Alarm,
    journal::{Ending, Note, Tokens},
};

const SERVER: HeaderValue = HeaderValue::from_static(concat!("llm-balancer/", env!("CARGO_PKG_VERSION")));
const REQUEST_ID: HeaderName = HeaderName::from_static("x-llmb-request-id");
/// Where clients of hosted providers look for an id.
const OTHER_IDS: [HeaderName; 2] =
    [HeaderName::from_static("x-request-id"), HeaderName::from_static("request-id")];

/// A request on its way through this data plane.
#[derive(Debug)]
pub struct Inquiry {
    /// Given by us, in every answer and log line.
    pub id: RequestId,
    /// When its head was read.
    pub arrival: Instant,
    /// Who asks.
    pub key: u64,
    /// The address of the client.
    pub from: IpAddr,
    /// Another data plane passes it on.
    pub passed: bool,
    /// Its number in the scheduling core, once it has one.
    pub ticket: Cell<Option<TicketId>>,
    /// What is noted of it, once it has been read.
    noted: OnceCell<Arc<Note>>,
    /// Of its connection.
    pub alarm: Alarm,
}

impl Inquiry {
    /// Begins the note of a call for `model`, unless it is begun.
    pub fn note(&self, shared: &Shared, operation: Operation, model: &str, prompt_tokens: u32) -> Arc<Note> {
        let open =
            || shared.journal.open(self.id.number(), self.arrival, operation.name(), model, prompt_tokens);
        self.noted.get_or_init(open).clone()
    }

    /// It ended without an answer that is relayed.
    pub fn ended(&self, shared: &Shared, operation: Operation, ending: Ending, status: u16) {
        let note = self.note(shared, operation, "", 0);
        shared.journal.close(&note, ending, status, Tokens::default());
    }

    /// Its client left before there was an answer; one that was not even read is not told.
    pub fn left(&self, shared: &Shared) {
        if let Some(note) = self.noted.get() {
            shared.journal.close(note, Ending::Left, 0, Tokens::default());
        }
    }
}

/// Answers one request.
///
/// `alarm` is that of its connection; `passed`: the connection is one where other data planes pass requests on.
pub async fn answer(
    worker: &Rc<Worker>,
    request: Request<Incoming>,
    (peer, passed): (IpAddr, bool),
    alarm: Alarm,
) -> Response<Body> {
    let shared = &worker.shared;
    let from = if passed { forward::client(request.headers()).unwrap_or(peer) } else { peer };
    let inquiry = Rc::new(Inquiry {
        id: shared.request_id(),
        arrival: Instant::now(),
        key: shared.key(request.headers(), from),
        from,
        passed,
        ticket: Cell::default(),
        noted: OnceCell::new(),
        alarm,
    });
    let target = wire::target(request.method().as_str(), request.uri().path(), request.uri().query());
    if passed && let Some(response) = forward::received(&request, matches!(target, Target::Call { .. })) {
        return response;
    }
    let mut response = match refused_shape(&request) {
        Some(message) => fault(&Fault::BadRequest { message }, target_dialect(&target), &inquiry.id),
        None => match target {
            Target::Call { operation, model, .. } => {
                call::answer(worker, &inquiry, operation, model, request).await
            }
            other => local::answer(shared, &inquiry, &other, request.uri().path()),
        },
    };
    if matches!(response.body(), Body::Passed(_)) {
        // The data plane that answered has set them: it is the one to explain it.
        return response;
    }
    let headers = response.headers_mut();
    // The backend's own request id stays what the client sees, where there is one.
    for name in OTHER_IDS {
        headers.entry(name).or_insert_with(|| inquiry.id.header());
    }
    headers.insert(REQUEST_ID, inquiry.id.header());
    // Probes know a balancer by this, and never make it a backend of itself.
    headers.entry(header::SERVER).or_insert(SERVER);
    response
}

/// Shapes that another hop may read differently than we do.
fn refused_shape(request: &Request<Incoming>) -> Option<String> {
    let headers = request.headers();
    if request.uri().scheme().is_some() || request.uri().authority().is_some() {
        return Some(
            "the request target must be a path such as /v1/chat/completions: this is not a proxy".to_owned(),
        );
    }
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Some("content-length is there twice".to_owned());
    }
    // RFC 9112 §3.2: exactly one, save in HTTP/1.0.
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Some("the host header is there twice".to_owned()),
        (None, _) if request.version() == Version::HTTP_11 => Some("the host header is missing".to_owned()),
        _ => None,
    }
}

fn target_dialect(target: &Target) -> Dialect {
    match target {
        Target::Call { operation, .. } => operation.dialect(),
        Target::MethodNotAllowed { dialect, .. }
        | Target::Unsupported { dialect }
        | Target::Unknown { dialect } => *dialect,
        Target::Tags | Target::Ps | Target::OllamaVersion => Dialect::Ollama,
        _ => Dialect::OpenaiChat,
    }
}

/// A fault as the client's dialect says it.
pub fn fault(fault: &Fault, dialect: Dialect, request_id: &str) -> Response<Body> {
    let status = fault.status(dialect);
    let mut response = json(status, fault.body(dialect, request_id));
    if let Some(seconds) = fault.retry_after_s() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Fault::Method { allow } = fault
        && let Ok(allow) = HeaderValue::from_str(allow)
    {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// An answer of our own.
pub fn json(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    typed(status, "application/json", body)
}

/// An answer of our own, of any type.
pub fn typed(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
