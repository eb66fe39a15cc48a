//! A request that a backend answers: read, routed, queued, sent; and sent elsewhere when that fails before any content.

use std::{future::Future, pin::Pin, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use sched::{Chain, Class, Refusal};
use tokio::time::Instant;
use wire::{Ask, Dialect, Fault, Framing, Operation, ReadFault};

use super::{
    Body, Worker,
    budget::Held,
    class, forward, intake, local,
    target::{Inquiry, fault, json},
};
use crate::{
    config::Snapshot,
    deadline::Time,
    journal::{Ending, Note},
    peer::SILENT_AFTER,
    route::{Candidate, Found, NoRoute},
};

mod attempt;
mod late;
mod place;
mod refusal;
mod request;

pub use late::Late;
use place::Placed;

/// Tries of a call that takes no slot; the scheduling core bounds the others.
const TRIES_MAX: usize = 3;
const ESTIMATED: HeaderName = HeaderName::from_static("x-llmb-estimated");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A request and what was read of it.
struct Call {
    operation: Operation,
    head: Parts,
    body: Bytes,
    ask: Ask,
    /// As the core compares it with what servers hold.
    prompt: Chain,
    framing: Framing,
    /// The class that it asks for.
    class: Option<Class>,
    note: Arc<Note>,
    /// The memory of the body, until there is an answer.
    _held: Held,
}

/// Where and for whom a call is answered.
struct Run {
    worker: Rc<Worker>,
    inquiry: Rc<Inquiry>,
}

/// A call on its way to an answer.
type Work = Pin<Box<dyn Future<Output = Result<Response<Body>, Fault>>>>;

/// Answers a call; faults are said in the client's dialect.
pub async fn answer(
    worker: &Rc<Worker>,
    inquiry: &Rc<Inquiry>,
    operation: Operation,
    model: Option<String>,
    request: Request<Incoming>,
) -> Response<Body> {
    let gone = Gone { worker, inquiry, armed: true };
    let answered = serve(worker, inquiry, operation, model, request).await;
    gone.disarm();
    match answered {
        Ok(response) => response,
        Err(refused) if inquiry.passed && forward::concerns_us(&refused) => {
            inquiry.ended(&worker.shared, operation, Ending::Refused, 0);
            forward::decline()
        }
        Err(refused) => {
            let dialect = operation.dialect();
            let (id, status) = (&inquiry.id, refused.status(dialect));
            worker.shared.report.ended(operation.name(), "", status);
            inquiry.ended(&worker.shared, operation, Ending::Refused, status);
            tracing::debug!(request_id = %id, operation = operation.name(), status, "refused");
            fault(&refused, dialect, id)
        }
    }
}

/// Counts a client that left before it had the head of an answer.
struct Gone<'a> {
    worker: &'a Worker,
    inquiry: &'a Inquiry,
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
            self.inquiry.left(&self.worker.shared);
        }
    }
}

async fn serve(
    worker: &Rc<Worker>,
    inquiry: &Rc<Inquiry>,
    operation: Operation,
    model: Option<String>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Fault> {
    let (head, body) = request.into_parts();
    let shared = &worker.shared;
    let (body, held) =
        intake::read(&head.headers, body, &shared.limits, &shared.budget, &inquiry.alarm).await?;
    let bad = |refused: ReadFault| Fault::BadRequest { message: refused.to_string() };
    let text = wire::text(&body).map_err(bad)?;
    let ask = wire::read_text(operation, model.as_deref(), text).map_err(bad)?;
    let framing = wire::framing(operation, ask.stream, head.uri.query());
    let note = inquiry.note(shared, operation, &ask.model, ask.prompt_tokens);
    let class = class::asked(&head.headers)?;
    let snapshot = worker.shared.snapshot.load_full();
    let mut found = match snapshot.table.candidates(&ask.model, operation.dialect()) {
        Ok(found) => found,
        // Ollama's clients ask for every model that they saw listed, whoever serves it.
        Err(NoRoute::OtherDialect { .. }) if operation == Operation::OllamaShow => {
            return local::show(&snapshot, &ask.model);
        }
        Err(none) => return Err(no_route(&ask.model, operation.dialect(), none)),
    };
    let prompt = place::prompt(operation, &ask, text, snapshot.salt, found.draws());
    let call = Call { operation, head, body, ask, prompt, framing, class, note, _held: held };
    let run = Run { worker: worker.clone(), inquiry: inquiry.clone() };
    if !operation.takes_slot() {
        found.prefer(found.draw(inquiry.key));
        // In a box: a connection keeps room for this whole function as long as an answer streams.
        return Box::pin(light(&run, &call, &snapshot, &found)).await;
    }
    if forward::wanted(worker, &snapshot, &found) {
        if inquiry.passed {
            return Err(Fault::Spare);
        }
        if let Some(response) = Box::pin(elsewhere(&run, &call, &snapshot, &found)).await {
            return Ok(response);
        }
    }
    let voice = late::Voice::of(&run, &call);
    // Not the function's own future: that would hold the call twice, once as it came and once as it is used.
    let mut work: Work = Box::pin(async move { heavy(&run, &call, snapshot, found).await });
    let Some(voice) = voice else { return work.await };
    match tokio::time::timeout(worker.shared.limits.stream_wait, &mut work).await {
        Ok(answered) => answered,
        Err(_) => Ok(late::response(voice, work)),
    }
}

/// The answer of a data plane that has what this one lacks, if there is one.
async fn elsewhere(run: &Run, call: &Call, snapshot: &Snapshot, found: &Found) -> Option<Response<Body>> {
    let parcel = forward::Parcel {
        inquiry: &run.inquiry,
        operation: call.operation,
        method: &call.head.method,
        uri: &call.head.uri,
        headers: &call.head.headers,
        body: &call.body,
        asked: run.worker.shared.asked(snapshot, &call.ask.model),
        note: &call.note,
    };
    forward::forward(&run.worker, snapshot, parcel, found.terms.deadlines.between_tokens).await
}

/// One that waited here, and can no longer run here: the answer of another data plane, or a slot here after all, each time
/// that a lead falls silent.
async fn stranded(run: &Run, call: &Call) -> Result<Result<Response<Body>, Placed>, Fault> {
    let shared = &run.worker.shared;
    loop {
        let (snapshot, dialect) = (shared.snapshot.load_full(), call.operation.dialect());
        let found = snapshot.table.candidates(&call.ask.model, dialect);
        let found = found.map_err(|none| no_route(&call.ask.model, dialect, none))?;
        if let Some(response) = elsewhere(run, call, &snapshot, &found).await {
            return Ok(Ok(response));
        }
        let patience = shared.limits.queue_wait.saturating_sub(run.inquiry.arrival.elapsed());
        let since = Instant::now();
        match place::first(run, call, (snapshot, found), patience).await {
            // Said at once, it is not for want of a lead.
            Err(Fault::Spare) if since.elapsed() >= SILENT_AFTER => {}
            placed => return placed.map(Err),
        }
    }
}

fn no_route(model: &str, dialect: Dialect, none: NoRoute) -> Fault {
    let model = model.to_owned();
    match none {
        NoRoute::OtherDialect { .. } if dialect == Dialect::OpenaiEmbeddings => {
            let message = format!("model: {model:?} makes no embeddings: no backend offers them for it");
            Fault::BadRequest { message }
        }
        NoRoute::Unknown { hint } => Fault::UnknownModel { model, hint: Some(hint) },
        NoRoute::OtherDialect { spoken } => {
            let needs = spoken.iter().map(|dialect| dialect.name().to_owned()).collect();
            Fault::WrongDialect { model, needs }
        }
    }
}

/// A call that occupies no engine: the usable candidates in order, until one answers.
async fn light(run: &Run, call: &Call, snapshot: &Snapshot, found: &Found) -> Result<Response<Body>, Fault> {
    let time = Time { deadlines: found.terms.deadlines, began: Instant::now() };
    let mut last = Err(refusal(&call.ask.model, &Refusal::Unhealthy));
    for chosen in place::usable(snapshot, &found.candidates)?.into_iter().take(TRIES_MAX) {
        match attempt::attempt(run, call, chosen, None, time).await {
            Ok(response) => return Ok(estimated(call, response.status()).unwrap_or(response)),
            Err(failure) => {
                last = failure.answer;
                if failure.cause.is_none() {
                    break;
                }
            }
        }
    }
    last
}

/// Our own count of tokens, marked as an estimate, for a server that cannot count (Ollama, for one).
fn estimated(call: &Call, status: StatusCode) -> Option<Response<Body>> {
    let tokens = call.ask.prompt_tokens;
    let body = match call.operation {
        Operation::CountTokens => format!("{{\"input_tokens\":{tokens}}}"),
        Operation::GeminiCountTokens => format!("{{\"totalTokens\":{tokens}}}"),
        _ => return None,
    };
    let cannot = matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
    );
    let mut response = cannot.then(|| json(200, body))?;
    response.headers_mut().insert(ESTIMATED, HeaderValue::from_static("true"));
    Some(response)
}

/// A call that takes a slot: on one backend after another as the core places it, until one answers or it is enough.
async fn heavy(
    run: &Run,
    call: &Call,
    snapshot: Arc<Snapshot>,
    found: Found,
) -> Result<Response<Body>, Fault> {
    let patience = run.worker.shared.limits.queue_wait;
    let placed = match place::first(run, call, (snapshot, found), patience).await {
        Err(Fault::Spare) if !run.inquiry.passed => match Box::pin(stranded(run, call)).await? {
            Ok(response) => return Ok(response),
            Err(placed) => Ok(placed),
        },
        placed => placed,
    };
    let Placed { mut found, chosen: mut place, mut lease } = placed?;
    let time = Time { deadlines: found.terms.deadlines, began: Instant::now() };
    let mut tried = Vec::new();
    loop {
        let chosen = found.candidates.get(place).ok_or(Fault::Internal)?;
        let mut failure = match attempt::attempt(run, call, chosen, Some(lease), time).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let (id, backend) = (&run.inquiry.id, &chosen.backend.name);
        tracing::warn!(request_id = %id, %backend, what = failure.what, "an attempt failed");
        let (Some(cause), Some(failed)) = (failure.cause, failure.lease.take()) else {
            return counted(run, call, chosen, failure.answer);
        };
        let chosen = chosen.clone();
        // a refused connection is no try
        tried.extend(Some(chosen.backend.id).filter(|_| cause != sched::Fault::Refused));
        let next = place::again(run, call, (failed, cause, failure.sent), (&mut found, &tried));
        match Box::pin(next).await {
            Ok(next) => (place, lease) = next,
            Err(why) => {
                let mut response = counted(run, call, &chosen, failure.answer)?;
                let headers = response.headers_mut();
                // All that could be tried was: an SDK that starts over would only add to it.
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
                if let Some(seconds) = refusal(&call.ask.model, &why).retry_after_s()
                    && cause == sched::Fault::Refused
                {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
                return Ok(response);
            }
        }
    }
}

/// The answer of the last attempt, said in the client's dialect.
fn counted(
    run: &Run,
    call: &Call,
    chosen: &Candidate,
    answer: Result<Response<Body>, Fault>,
) -> Result<Response<Body>, Fault> {
    let mut response = match answer {
        Ok(response) => response,
        Err(refused) => {
            let mut response = fault(&refused, call.operation.dialect(), &run.inquiry.id);
            // An answer that has begun already tells it in its own way.
            response.extensions_mut().insert(refused);
            response
        }
    };
    refusal::mark(response.headers_mut(), chosen);
    let status = response.status().as_u16();
    run.worker.shared.report.ended(call.operation.name(), &chosen.backend.name, status);
    run.inquiry.ended(&run.worker.shared, call.operation, Ending::Failed, status);
    Ok(response)
}

/// An error that came with a good status, with the status that it should have had.
fn made(dialect: Dialect, status: u16, message: &str, request_id: &str) -> Response<Body> {
    json(status, wire::relay_error(dialect, status, message, request_id))
}

/// Why the core refuses, as the client hears it.
fn refusal(model: &str, why: &Refusal) -> Fault {
    let model = model.to_owned();
    let seconds = |after: &sched::Span| u32::try_from(after.0.div_ceil(1_000_000)).unwrap_or(u32::MAX);
    let none = |reason: String, retry_after_s: u32| Fault::NoBackend { model, reason, retry_after_s };
    match why {
        Refusal::QueueFull { waiting, retry_after } => {
            Fault::QueueFull { waiting: *waiting as u64, retry_after_s: seconds(retry_after) }
        }
        Refusal::Deadline { waited, retry_after } => {
            Fault::QueueDeadline { waited_ms: waited.0 / 1000, retry_after_s: seconds(retry_after) }
        }
        Refusal::TooLong { estimate, limit } => {
            Fault::TooLong { estimate: u64::from(*estimate), limit: u64::from(*limit) }
        }
        Refusal::NoCandidate => none("its backends are gone".to_owned(), 5),
        Refusal::Unhealthy => none("all its backends are down".to_owned(), 5),
        Refusal::Draining => none("all its backends are draining".to_owned(), 30),
        Refusal::Resting { retry_after } => {
            none("all its backends failed just now and rest".to_owned(), seconds(retry_after))
        }
        Refusal::Exhausted { tried, budget } => {
            let end = if *budget { "too many requests are being retried" } else { "no other can take it" };
            none(format!("{tried} of its backends failed on this request, and {end}"), 5)
        }
        Refusal::Spare => Fault::Spare,
        Refusal::Closing { retry_after } => Fault::Draining { retry_after_s: seconds(retry_after) },
    }
}
