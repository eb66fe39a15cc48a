//! Response bodies: whole ones, and streams fed by the engine.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    dialect::{Encode, End, Plan},
    engine::Step,
    spoil,
};

/// The body of every response.
pub(crate) enum Answer {
    Full(Option<Bytes>),
    /// Fewer bytes than are promised.
    Short {
        bytes: Option<Bytes>,
        promised: u64,
        flushed: bool,
    },
    /// Nothing ever comes.
    Silent,
    /// Nothing comes after these bytes, and the engine stays as it is.
    Stuck {
        bytes: Option<Bytes>,
        _steps: mpsc::Receiver<Step>,
    },
    Stream(Box<Flow>),
}

/// A whole response. `status` is taken as it is given; one that HTTP does not know becomes 500.
pub(crate) fn full(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::Full(Some(body.into())));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Answer::Short { bytes, flushed, .. } => match bytes.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => broken(flushed, context).map(|error| Some(Err(error))),
            },
            Answer::Full(bytes) => {
                Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Answer::Silent => Poll::Pending,
            Answer::Stuck { bytes, .. } => match bytes.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            },
            Answer::Stream(flow) => flow.poll(context).map(|bytes| bytes.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Short { promised, .. } => SizeHint::with_exact(*promised),
            Answer::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            _ => SizeHint::default(),
        }
    }
}

/// An error, but not before what was written is flushed: hyper drops it otherwise.
fn broken(flushed: &mut bool, context: &mut Context<'_>) -> Poll<io::Error> {
    if *flushed {
        return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
    }
    *flushed = true;
    context.waker().wake_by_ref();
    Poll::Pending
}

/// How a stream is over.
#[derive(Clone, Copy)]
enum Over {
    Cleanly,
    Broken,
}

/// A stream: steps of the engine in, frames of the dialect out, one a token.
pub(crate) struct Flow {
    steps: mpsc::Receiver<Step>,
    encoder: Box<dyn Encode>,
    plan: Plan,
    written: usize,
    begun: bool,
    over: Option<Over>,
    flushed: bool,
    /// It breaks even after its last event.
    breaks: bool,
    /// The token before which something comes that is none.
    garbage_before: Option<usize>,
    /// Said at the end when it is cut short.
    last_words: Option<Value>,
    /// Steps and bytes from before the body was polled.
    first: Option<Step>,
    held: Vec<u8>,
}

impl Flow {
    pub fn new(
        steps: mpsc::Receiver<Step>,
        encoder: Box<dyn Encode>,
        plan: Plan,
        first: Option<Step>,
    ) -> Self {
        Flow {
            steps,
            encoder,
            plan,
            written: 0,
            begun: false,
            over: None,
            flushed: false,
            breaks: false,
            garbage_before: None,
            last_words: None,
            first,
            held: Vec::new(),
        }
    }

    /// Sends what precedes the first token at once.
    pub fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.encoder.begin(&mut self.held);
        }
    }

    /// Ends with a broken connection, after the last event.
    pub fn breaks(&mut self) {
        self.breaks = true;
    }

    /// Puts something that is not JSON behind so many tokens.
    pub fn garbage(&mut self, after: u32) {
        self.garbage_before = Some(after as usize);
    }

    /// Says this error when it is cut short.
    pub fn last_words(&mut self, error: Value) {
        self.last_words = Some(error);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if !self.held.is_empty() {
                return Poll::Ready(Some(Ok(std::mem::take(&mut self.held).into())));
            }
            match self.over {
                Some(Over::Cleanly) => return Poll::Ready(None),
                Some(Over::Broken) => {
                    return broken(&mut self.flushed, context).map(|error| Some(Err(error)));
                }
                None => {}
            }
            let step = match self.first.take() {
                Some(step) => Some(step),
                None => std::task::ready!(self.steps.poll_recv(context)),
            };
            match step {
                Some(Step::Token) => {
                    self.begin();
                    if self.garbage_before == Some(self.written) {
                        spoil::garbage(self.encoder.content_type(), &mut self.held);
                    }
                    self.encoder.piece(&self.plan.pieces[self.written], &mut self.held);
                    self.written += 1;
                }
                Some(Step::Done(timing)) => {
                    self.begin();
                    let output_tokens = self.written as u32;
                    let end = End { finish: self.plan.finish, output_tokens, timing };
                    self.encoder.end(&end, &mut self.held);
                    self.over = Some(if self.breaks { Over::Broken } else { Over::Cleanly });
                }
                Some(Step::Truncate) => {
                    if let Some(error) = self.last_words.take() {
                        self.begin();
                        self.encoder.error(&error, &mut self.held);
                    }
                    self.over = Some(Over::Cleanly);
                }
                Some(Step::Die) | None => self.over = Some(Over::Broken),
            }
        }
    }
}
