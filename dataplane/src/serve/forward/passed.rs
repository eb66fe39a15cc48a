//! The answer of another data plane, on its way to the client as it comes.

use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{Answer, Parcel, TO};
use crate::{
    deadline::Alarm,
    journal::{Ending, Note, Tokens},
    provider,
    relay::Cut,
    serve::{Body, Shared, Worker},
    upstream::{Pool, Wire},
    wake,
};

/// Its body. Dropped before its end, the other data plane sees that the client left.
#[derive(Debug)]
pub struct Passed {
    upstream: Incoming,
    wire: Option<Wire>,
    pool: Rc<Pool>,
    shared: Arc<Shared>,
    note: Arc<Note>,
    plane: String,
    status: u16,
    alarm: Alarm,
    /// No longer without a byte.
    quiet_max: Duration,
    heard: Instant,
    ended: bool,
}

/// The answer for the client.
pub fn response(
    worker: &Rc<Worker>,
    parcel: &Parcel<'_>,
    plane: String,
    (answer, wire): Answer,
    quiet_max: Duration,
) -> Response<Body> {
    let (mut head, upstream) = answer.into_parts();
    provider::keep_for_client(&mut head.headers, true);
    if let Ok(plane) = HeaderValue::from_str(&plane) {
        head.headers.insert(TO, plane);
    }
    let status = head.status.as_u16();
    worker.shared.report.ended(parcel.operation.name(), "", status);
    let passed = Passed {
        upstream,
        wire: Some(wire),
        pool: worker.pool.clone(),
        shared: worker.shared.clone(),
        note: parcel.note.clone(),
        plane,
        status,
        alarm: parcel.inquiry.alarm.clone(),
        quiet_max,
        heard: Instant::now(),
        ended: false,
    };
    Response::from_parts(head, Body::Passed(Box::new(passed)))
}

impl Passed {
    /// The next piece.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.shared.cuts() {
            return self.cut("the data plane stops".to_owned());
        }
        match wake::poll_frame(&mut self.upstream, cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.heard = Instant::now();
                if self.upstream.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.cut(error.to_string()),
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let due = self.heard + self.quiet_max;
                std::task::ready!(self.alarm.poll(cx, due, Duration::ZERO));
                self.cut(format!("nothing came for {} s", self.quiet_max.as_secs()))
            }
        }
    }

    /// Of the whole, where it is told.
    pub fn size_hint(&self) -> SizeHint {
        self.upstream.size_hint()
    }

    fn finish(&mut self) {
        self.ended = true;
        if let Some(wire) = self.wire.take() {
            self.pool.put(wire);
        }
        self.shared.journal.close(&self.note, Ending::Answered, self.status, Tokens::default());
    }

    fn cut(&mut self, what: String) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.ended = true;
        self.wire = None;
        self.shared.journal.close(&self.note, Ending::Cut, self.status, Tokens::default());
        Poll::Ready(Some(Err(Cut::passed(&self.plane, what))))
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.report.left();
            self.shared.journal.close(&self.note, Ending::Left, self.status, Tokens::default());
        }
    }
}
