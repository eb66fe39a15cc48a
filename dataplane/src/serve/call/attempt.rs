//! One attempt at one backend, up to its first content: until then the client has seen nothing, and another may follow.

use std::{borrow::Cow, cell::Cell, future::poll_fn, pin::pin, task::Poll};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header, response::Parts};
use hyper::body::{Body as _, Incoming};
use sched::{Outcome, Span};
use tokio::time::Instant;
use wire::{Fault, First, Framing, Tap};

use super::{
    super::Body,
    Call, Run,
    refusal::{collected, mark, said},
    request::Outgoing,
};
use crate::{
    config::{Backend, Kind},
    deadline::{Burden, Name, Passed, Time, Watch},
    dispatch::Lease,
    provider,
    relay::{Passage, Relay, Start},
    route::Candidate,
    upstream::{UpstreamError, Wire},
    wake,
};

/// Bytes of a stream held back in search of its first content.
const HELD_BYTES_MAX: usize = 64 * 1024;
/// A longer answer in one piece is relayed before its end is known.
const WHOLE_BYTES_MAX: usize = 256 * 1024;
/// A longer answer in one piece with a good status is no error.
const ERROR_BYTES_MAX: usize = 16 * 1024;

/// An attempt that failed before any content.
#[derive(Debug)]
pub struct Failure {
    /// As the core hears it; none when another backend would do no better.
    pub cause: Option<sched::Fault>,
    /// The engine may be at work on it.
    pub sent: bool,
    /// What the client gets when no other attempt follows.
    pub answer: Result<Response<Body>, Fault>,
    /// In words, for the log.
    pub what: String,
    /// The slot.
    pub lease: Option<Lease>,
}

/// Sends `call`, which has so much `time`, to `chosen` and waits for the first content of the answer.
pub async fn attempt(
    run: &Run,
    call: &Call,
    chosen: &Candidate,
    mut lease: Option<Lease>,
    time: Time,
) -> Result<Response<Body>, Failure> {
    let backend = &chosen.backend;
    let outgoing = match Outgoing::new(call, chosen) {
        Ok(outgoing) => outgoing,
        Err(fault) => {
            return Err(Failure {
                cause: None,
                sent: false,
                what: fault.message(),
                answer: Err(fault),
                lease,
            });
        }
    };
    // From here on the engine may be at work until the connection closes.
    if let Some(lease) = &mut lease {
        lease.outcome = Outcome::Aborted;
    }
    let burden = Burden {
        prompt_tokens: call.ask.prompt_tokens,
        prefill_tps: lease.as_ref().and_then(Lease::prefill_tps),
        whole: (call.framing == Framing::Whole && call.operation.generates()).then_some(call.ask.max_output),
    };
    let mut watch = Watch::new(time, &burden, run.inquiry.alarm.clone());
    let begun = exchange(run, call, backend, &outgoing, time, &mut watch).await;
    match begun {
        Ok(begun) => Ok(relayed(run, call, chosen, begun, watch, lease, outgoing.strip)),
        Err(failed) => Err(Failure {
            cause: failed.cause,
            sent: failed.sent,
            what: failed.what,
            answer: match failed.answer {
                Answer::Fault(fault) => Err(fault),
                Answer::Said(head, body) => Ok(said(head, body, chosen)),
                Answer::Made(status, message) => {
                    Ok(super::made(call.operation.dialect(), status, &message, &run.inquiry.id))
                }
            },
            lease,
        }),
    }
}

/// Sends and waits within the deadlines.
async fn exchange(
    run: &Run,
    call: &Call,
    backend: &Backend,
    outgoing: &Outgoing<'_>,
    time: Time,
    watch: &mut Watch,
) -> Result<Begun, Box<Failed>> {
    let heard = Cell::new(None);
    let (connect, cuts) = (time.deadlines.connect, run.worker.pool.cuts());
    let mut begun = pin!(async {
        let sent = run.worker.pool.send(&backend.base, || outgoing.request(), connect).await;
        let (answer, wire) = sent.map_err(|error| unsent(backend, &error))?;
        begin(call, backend, answer, wire, &heard).await
    });
    let either = poll_fn(|cx| match begun.as_mut().poll(cx) {
        Poll::Ready(begun) => Poll::Ready(Ok(begun)),
        Poll::Pending => watch.poll(cx).map(Err),
    });
    match either.await {
        // What broke the connection was no fault of the server's.
        Ok(Err(_)) if run.worker.pool.cuts() != cuts => Err(ended()),
        Ok(begun) => begun,
        Err(passed) => Err(late(backend, &passed, watch.lives(heard.get()))),
    }
}

/// A deadline passed before any content; whether the server `lives` all the same.
fn late(backend: &Backend, passed: &Passed, lives: bool) -> Box<Failed> {
    let fault = Fault::UpstreamTimeout { backend: backend.name.to_string(), what: passed.to_string() };
    let cause = match passed.name {
        // No other try could be in time, and the server may be slow in its right.
        Name::Total => None,
        _ if lives => Some(sched::Fault::Slow),
        _ => Some(sched::Fault::Timeout),
    };
    Box::new(Failed { cause, sent: true, what: fault.message(), answer: Answer::Fault(fault) })
}

/// All that ran was ended before any content.
fn ended() -> Box<Failed> {
    let answer = Answer::Fault(Fault::Draining { retry_after_s: 1 });
    Box::new(Failed { cause: None, sent: true, what: UpstreamError::Cut.to_string(), answer })
}

/// A failure without what the caller knows.
struct Failed {
    cause: Option<sched::Fault>,
    sent: bool,
    what: String,
    answer: Answer,
}

enum Answer {
    Fault(Fault),
    /// The server's own words.
    Said(Parts, Bytes),
    /// An error that came with a good status.
    Made(u16, String),
}

impl Failed {
    fn of(cause: sched::Fault, fault: Fault) -> Box<Self> {
        Box::new(Self { cause: Some(cause), sent: true, what: fault.message(), answer: Answer::Fault(fault) })
    }
}

fn unsent(backend: &Backend, error: &UpstreamError) -> Box<Failed> {
    let name = backend.name.to_string();
    let unreached = |cause, fault| {
        let (what, answer) = (error.to_string(), Answer::Fault(fault));
        Box::new(Failed { cause: Some(cause), sent: false, what, answer })
    };
    match error {
        UpstreamError::Refused(_) => {
            unreached(sched::Fault::Refused, Fault::UpstreamConnect { backend: name })
        }
        UpstreamError::Connect(_) => {
            unreached(sched::Fault::Connect, Fault::UpstreamConnect { backend: name })
        }
        UpstreamError::ConnectTimeout(passed) => {
            let what = passed.to_string();
            unreached(sched::Fault::Connect, Fault::UpstreamTimeout { backend: name, what })
        }
        UpstreamError::Cut => ended(),
        UpstreamError::Broken(_) => {
            Failed::of(sched::Fault::Reset, Fault::UpstreamBroken { backend: name, what: error.to_string() })
        }
    }
}

/// An answer whose first content is here.
struct Begun {
    head: Parts,
    upstream: Incoming,
    wire: Wire,
    start: Start,
    judged: bool,
}

async fn begin(
    call: &Call,
    backend: &Backend,
    answer: Response<Incoming>,
    wire: Wire,
    heard: &Cell<Option<Instant>>,
) -> Result<Begun, Box<Failed>> {
    let (head, mut upstream) = answer.into_parts();
    let broken = |what: String| {
        Failed::of(sched::Fault::Answer, Fault::UpstreamBroken { backend: backend.name.to_string(), what })
    };
    // A switch of protocols that nobody asked for.
    if head.status.is_informational() {
        return Err(broken(format!("status {} ends no request", head.status.as_u16())));
    }
    if head.status.is_redirection() {
        return Err(broken(format!("status {}: redirects are not followed", head.status.as_u16())));
    }
    if matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(Failed::of(
            sched::Fault::Status,
            Fault::UpstreamAuth { backend: backend.name.to_string() },
        ));
    }
    if let Some(cause) = cause(head.status, &head.headers) {
        let body = Box::pin(collected(upstream)).await;
        let what = format!("status {}", head.status.as_u16());
        return Err(Box::new(Failed {
            cause: Some(cause),
            sent: false,
            what,
            answer: Answer::Said(head, body),
        }));
    }
    let readable = !head.headers.contains_key(header::CONTENT_ENCODING);
    let judged = head.status.is_success() && readable;
    let mut tap = Tap::new(call.operation, call.framing);
    tap.expect_choices(call.ask.choices);
    let mut start = Start { tap, seen: Vec::new(), ended: false };
    if judged {
        read_on(&mut upstream, &mut start, heard).await.map_err(broken)?;
        judge(call, &start).map_err(|bad| match bad {
            Bad::Error { status, message } => refused(status, message),
            Bad::Broken(what) => broken(what),
        })?;
    }
    Ok(Begun { head, upstream, wire, start, judged })
}

/// Reads a stream up to its first content, an answer in one piece to its end, both within bounds.
async fn read_on(
    upstream: &mut Incoming,
    start: &mut Start,
    heard: &Cell<Option<Instant>>,
) -> Result<(), String> {
    let mut held = 0;
    while held < if start.tap.in_one_piece() { WHOLE_BYTES_MAX } else { HELD_BYTES_MAX } {
        if upstream.is_end_stream() {
            start.ended = true;
            return Ok(());
        }
        match poll_fn(|cx| wake::poll_frame(upstream, cx)).await {
            None => {
                start.ended = true;
                return Ok(());
            }
            Some(Err(error)) => return Err(format!("its connection broke: {error}")),
            Some(Ok(frame)) => {
                let Ok(chunk) = frame.into_data() else { continue };
                heard.set(Some(Instant::now()));
                held += chunk.len();
                start.tap.feed(&chunk);
                start.seen.push(chunk);
                if start.tap.malformed() {
                    return Err("an element of it is no JSON".to_owned());
                }
                let report = start.tap.report();
                let streamed = !start.tap.in_one_piece();
                if streamed && (report.content || report.complete || report.error.is_some()) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

enum Bad {
    /// The server says so itself, with a good status.
    Error { status: u16, message: String },
    /// It makes no sense.
    Broken(String),
}

fn judge(call: &Call, start: &Start) -> Result<(), Bad> {
    let report = start.tap.report();
    let streamed = !start.tap.in_one_piece();
    let short = start.seen.iter().map(Bytes::len).sum::<usize>() <= ERROR_BYTES_MAX;
    let suspect = if streamed { !report.content || report.error.is_some() } else { start.ended && short };
    if suspect && !start.tap.harmless() {
        let so_far = match start.seen.as_slice() {
            [one] => Cow::Borrowed(&one[..]),
            several => Cow::Owned(several.concat()),
        };
        if let First::Error { status, message } = wire::first_element(call.operation, call.framing, &so_far) {
            return Err(Bad::Error { status, message });
        }
    }
    let first = start.seen.iter().flatten().find(|byte| !byte.is_ascii_whitespace());
    if !streamed && !matches!(first, Some(b'{' | b'[')) {
        return Err(Bad::Broken("the answer is no JSON".to_owned()));
    }
    if !start.ended {
        return Ok(());
    }
    if streamed && !report.content && !report.complete {
        return Err(Bad::Broken("the stream ended before any content".to_owned()));
    }
    if !streamed && !report.complete {
        return Err(Bad::Broken("the answer is no whole JSON value".to_owned()));
    }
    Ok(())
}

fn refused(status: u16, message: String) -> Box<Failed> {
    let cause = match StatusCode::from_u16(status) {
        Ok(status) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => None,
        _ => Some(sched::Fault::Answer),
    };
    Box::new(Failed { cause, sent: true, what: message.clone(), answer: Answer::Made(status, message) })
}

/// Whether another backend may do better than one that answers with this status.
fn cause(status: StatusCode, headers: &HeaderMap) -> Option<sched::Fault> {
    match status.as_u16() {
        429 => {
            let told = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = told.and_then(|told| told.trim().parse().ok()).map(Span::from_secs);
            Some(sched::Fault::Limited { retry_after })
        }
        408 | 500 | 502 | 503 | 504 | 529 => Some(sched::Fault::Status),
        _ => None,
    }
}

fn relayed(
    run: &Run,
    call: &Call,
    chosen: &Candidate,
    begun: Begun,
    watch: Watch,
    lease: Option<Lease>,
    strip: bool,
) -> Response<Body> {
    let strip = strip && begun.judged;
    let status = begun.head.status;
    let passage = Passage {
        shared: run.worker.shared.clone(),
        pool: run.worker.pool.clone(),
        backend: chosen.backend.name.clone(),
        uncounted: matches!(chosen.backend.kind, Kind::Ollama | Kind::LmStudio),
        operation: call.operation,
        framing: call.framing,
        request_id: run.inquiry.id.clone(),
        note: call.note.clone(),
        judged: begun.judged,
        strip,
        status: status.as_u16(),
    };
    // A stream may end in a frame of ours, whatever length the server told.
    let length_kept = !begun.judged || call.framing == Framing::Whole;
    let mut headers = begun.head.headers;
    provider::keep_for_client(&mut headers, length_kept);
    mark(&mut headers, chosen);
    let mut relay = Relay::new(passage, begun.upstream, begun.start, begun.wire, watch, lease);
    let body = relay.whole().map_or_else(|| Body::Relay(Box::new(relay)), Body::whole);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
