//! An answer that is begun before there is one: keep-alives that the client's SDK bears, then the answer or a fault.

use std::{
    fmt,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header, response::Parts};
use http_body::Frame;
use tokio::time::{Interval, MissedTickBehavior};
use wire::{Fault, Framing, Operation};

use super::{super::Shared, Body, Call, Inquiry, Run, Work, refusal::BACKEND};
use crate::{
    journal::Ending,
    relay::{Cut, Relay},
};

/// Between two keep-alives: agents abort after 300 s of silence, many proxies after 60 s.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// How to speak to a client that waits.
pub struct Voice {
    shared: Arc<Shared>,
    inquiry: Rc<Inquiry>,
    operation: Operation,
    framing: Framing,
    model: String,
}

impl Voice {
    /// None where the framing has nothing to say before an answer.
    pub fn of(run: &Run, call: &Call) -> Option<Self> {
        let speaks = matches!(call.framing, Framing::Sse | Framing::Lines);
        speaks.then(|| Self {
            shared: run.worker.shared.clone(),
            inquiry: run.inquiry.clone(),
            operation: call.operation,
            framing: call.framing,
            model: call.ask.model.clone(),
        })
    }

    fn keep_alive(&self) -> Bytes {
        let outlook = self.inquiry.ticket.get().and_then(|ticket| self.shared.dispatch.outlook(ticket));
        let queued = outlook.map(|outlook| (outlook.position as u64, outlook.expected.0.div_ceil(1_000_000)));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Bytes::from(wire::keep_alive(self.operation, &self.model, now.as_secs(), queued))
    }
}

/// The body of such an answer.
pub struct Late {
    voice: Voice,
    state: State,
    tick: Interval,
}

enum State {
    Waiting(Work),
    Relaying(Box<Relay>),
    Over,
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").finish_non_exhaustive()
    }
}

/// Begins an answer whose `work` goes on.
pub fn response(voice: Voice, work: Work) -> Response<Body> {
    let content_type = match voice.framing {
        Framing::Lines => "application/x-ndjson",
        _ => "text/event-stream",
    };
    let mut tick = tokio::time::interval(KEEP_ALIVE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let late = Late { voice, state: State::Waiting(work), tick };
    let mut response = Response::new(Body::Late(Box::new(late)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Late {
    /// The next bytes for the client.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            let work = match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Relaying(relay) => return relay.poll(cx),
                State::Waiting(work) => work,
            };
            if self.voice.shared.cuts() {
                self.state = State::Over;
                let told = self.fault(&Fault::Draining { retry_after_s: 1 });
                return Poll::Ready(told.map(|told| Ok(Frame::data(told))));
            }
            let Poll::Ready(answered) = work.as_mut().poll(cx) else {
                if self.tick.poll_tick(cx).is_ready() {
                    return Poll::Ready(Some(Ok(Frame::data(self.voice.keep_alive()))));
                }
                return Poll::Pending;
            };
            self.state = State::Over;
            let told = match answered.map(Response::into_parts) {
                Ok((head, Body::Relay(relay))) if head.status.is_success() => {
                    self.state = State::Relaying(relay);
                    continue;
                }
                Ok((head, body)) => self.refused(&head, &body),
                Err(fault) => {
                    let Voice { operation, shared, inquiry, .. } = &self.voice;
                    let status = fault.status(operation.dialect());
                    shared.report.ended(operation.name(), "", status);
                    inquiry.ended(shared, *operation, Ending::Refused, status);
                    self.fault(&fault)
                }
            };
            return Poll::Ready(told.map(|told| Ok(Frame::data(told))));
        }
    }

    /// A refusal whose status can no longer be sent.
    fn refused(&self, head: &Parts, body: &Body) -> Option<Bytes> {
        if let Some(fault) = head.extensions.get() {
            return self.fault(fault);
        }
        let said = match body {
            Body::Whole(Some(said)) => String::from_utf8_lossy(said).into_owned(),
            _ => String::new(),
        };
        self.fault(&Fault::UpstreamBroken {
            backend: head
                .headers
                .get(BACKEND)
                .and_then(|name| name.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            what: format!("status {}: {said}", head.status.as_u16()),
        })
    }

    fn fault(&self, fault: &Fault) -> Option<Bytes> {
        let Voice { operation, framing, inquiry, .. } = &self.voice;
        fault.in_stream(operation.dialect(), *framing, &inquiry.id).map(Bytes::from)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        if matches!(self.state, State::Waiting(_)) {
            self.voice.shared.report.left();
            self.voice.inquiry.left(&self.voice.shared);
        }
    }
}
