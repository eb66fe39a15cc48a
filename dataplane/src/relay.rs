//! The way back: an answer's bytes as they come, with back-pressure, watched by a tap and never touched.

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use sched::{End, Outcome, Span};
use wire::{Fault, Framing, Operation, Tap, UsageStrip};

use crate::{
    deadline::{Name, Passed, Watch},
    dispatch::Lease,
    journal::{Ending, Note, Tokens},
    serve::{RequestId, Shared},
    upstream::{Pool, Wire},
    wake,
};

/// Why an answer is cut: the client's connection is aborted, so that nothing looks complete.
#[derive(Debug, thiserror::Error)]
#[error("the answer of {whose} broke off: {what}")]
pub struct Cut {
    whose: String,
    what: String,
}

impl Cut {
    /// Of a request that was passed on to another data plane.
    #[must_use]
    pub fn passed(plane: &str, what: String) -> Self {
        Self { whose: format!("data plane {plane}"), what }
    }
}

/// What an answer is relayed with.
#[derive(Debug)]
pub struct Passage {
    /// Of the whole data plane.
    pub shared: Arc<Shared>,
    /// Of this thread.
    pub pool: Rc<Pool>,
    /// The name of who answers.
    pub backend: Arc<str>,
    /// That one does not count what it had cached, and some of its forms say zero for it.
    pub uncounted: bool,
    /// What was asked.
    pub operation: Operation,
    /// How the answer is framed.
    pub framing: Framing,
    /// For error frames.
    pub request_id: RequestId,
    /// Of the request, with when it came.
    pub note: Arc<Note>,
    /// The answer's bytes can be read, and it is a success: its end can be judged.
    pub judged: bool,
    /// Takes out the usage chunk that the client did not ask for.
    pub strip: bool,
    /// The status that the client sees.
    pub status: u16,
}

/// What has been read of an answer before its relay began.
#[derive(Debug)]
pub struct Start {
    /// Has been fed what was seen.
    pub tap: Tap,
    /// In order.
    pub seen: Vec<Bytes>,
    /// There is no more.
    pub ended: bool,
}

/// An answer on its way to a client.
#[derive(Debug)]
pub struct Relay {
    passage: Passage,
    upstream: Incoming,
    wire: Option<Wire>,
    lease: Option<Lease>,
    tap: Tap,
    strip: Option<UsageStrip>,
    ready: VecDeque<Bytes>,
    scratch: Vec<Bytes>,
    watch: Watch,
    first: bool,
    /// The last line that went to the client has no end yet.
    torn: bool,
    end: Option<Result<(), Cut>>,
}

impl Relay {
    /// Relays `upstream`, of which `start` has been read already.
    #[must_use]
    pub fn new(
        passage: Passage,
        upstream: Incoming,
        start: Start,
        wire: Wire,
        mut watch: Watch,
        lease: Option<Lease>,
    ) -> Self {
        watch.heard();
        let mut relay = Self {
            tap: start.tap,
            strip: passage.strip.then(UsageStrip::new),
            passage,
            upstream,
            wire: Some(wire),
            lease,
            ready: VecDeque::new(),
            scratch: Vec::new(),
            watch,
            first: false,
            torn: false,
            end: None,
        };
        relay.note_content();
        for chunk in start.seen {
            relay.pass(chunk);
        }
        if start.ended || relay.upstream.is_end_stream() {
            relay.finish();
        }
        relay
    }

    fn take(&mut self, chunk: Bytes) {
        if self.passage.judged {
            self.tap.feed(&chunk);
            if self.tap.malformed() {
                return self.fail("an element of it is no JSON".to_owned());
            }
            self.note_content();
        }
        self.pass(chunk);
    }

    fn note_content(&mut self) {
        if self.first || !self.tap.report().content {
            return;
        }
        self.first = true;
        let after = self.passage.note.first_token();
        self.passage.shared.report.first_token(&self.passage.backend, after);
        // The first token of an answer in one piece is seen with its last, which says nothing about the prompt.
        if let Some(lease) = &self.lease
            && self.passage.framing != Framing::Whole
        {
            lease.first_token();
        }
    }

    fn pass(&mut self, chunk: Bytes) {
        self.torn = chunk.last().is_some_and(|last| *last != b'\n');
        match &mut self.strip {
            Some(strip) => {
                strip.feed(chunk, &mut self.scratch);
                self.ready.extend(self.scratch.drain(..));
            }
            None => self.ready.push_back(chunk),
        }
    }

    /// The server ended the body.
    fn finish(&mut self) {
        self.tap.finish();
        if let Some(strip) = &mut self.strip {
            strip.finish(&mut self.scratch);
            self.ready.extend(self.scratch.drain(..));
        }
        let streamed = self.passage.framing != Framing::Whole;
        if self.passage.judged && streamed && !self.tap.report().complete {
            if self.tap.report().error.is_some() {
                // The server said itself that it failed, in the client's dialect.
                return self.settle(Outcome::Failed);
            }
            return self.fail("it ended without its last event".to_owned());
        }
        if let Some(wire) = self.wire.take() {
            self.passage.pool.put(wire);
        }
        self.settle(Outcome::Done);
    }

    /// The connection broke, which says nothing against an answer that is all there.
    fn broke(&mut self, error: &hyper::Error) {
        self.wire = None;
        self.tap.finish();
        if self.passage.framing != Framing::Whole && self.tap.report().complete {
            return self.finish();
        }
        self.fail(format!("its connection broke: {error}"));
    }

    fn settle(&mut self, outcome: Outcome) {
        self.end = Some(Ok(()));
        self.wire = None;
        let prefix = self.lease.as_ref().and_then(Lease::prefix);
        self.release(outcome);
        let answered = if outcome == Outcome::Done { Ending::Answered } else { Ending::Failed };
        self.close(answered, self.passage.status);
        let usage = &self.tap.report().usage;
        let Passage { backend, shared, operation, status, .. } = &self.passage;
        if let (Some(prefix), Some(cached), Some(prompt)) = (prefix, self.cached(), usage.prompt) {
            // Servers count in tokens of their own.
            let ours = u128::from(cached) * u128::from(prefix.prompt) / u128::from(prompt.max(1));
            shared.report.foreseen(backend, prefix.cached, u32::try_from(ours).unwrap_or(u32::MAX));
        }
        shared.report.usage(backend, usage);
        shared.report.ended(operation.name(), backend, *status);
        tracing::debug!(
            request_id = %self.passage.request_id, backend = %backend, operation = operation.name(), status,
            total_ms = self.passage.note.arrival().elapsed().as_millis() as u64, prompt_tokens = usage.prompt, cached_tokens = usage.cached, output_tokens = usage.output,
            "answered"
        );
    }

    /// The answer broke off.
    fn fail(&mut self, what: String) {
        let fault = Fault::Truncated { backend: self.passage.backend.to_string() };
        self.cut(Outcome::Failed, what, &fault);
    }

    /// A deadline passed. A server that is only slow to end is no failed one.
    fn late(&mut self, passed: &Passed) {
        let outcome = if passed.name == Name::Total { Outcome::Aborted } else { Outcome::Failed };
        let what = passed.to_string();
        let fault = Fault::UpstreamTimeout { backend: self.passage.backend.to_string(), what: what.clone() };
        self.cut(outcome, format!("{what} passed"), &fault);
    }

    /// Ends the answer with the dialect's error frame where it has one, else with an aborted connection.
    fn cut(&mut self, outcome: Outcome, what: String, fault: &Fault) {
        self.wire = None;
        self.release(outcome);
        let Passage { backend, shared, operation, framing, request_id, .. } = &self.passage;
        tracing::warn!(%request_id, backend = %backend, what, "an answer broke off");
        let status = fault.status(operation.dialect());
        shared.report.ended(operation.name(), backend, status);
        self.close(Ending::Cut, status);
        // Helpers that follow an answer by its id want to see that id in its end.
        let answer_id = self.tap.report().id.as_deref().unwrap_or(request_id);
        if *framing == Framing::Lines && self.torn {
            // Some clients skip a line that they cannot read, and the error must not be on it.
            self.ready.push_back(Bytes::from_static(b"\n"));
        }
        let frame = match framing {
            Framing::Whole => None,
            framing => fault.in_stream(operation.dialect(), *framing, answer_id),
        };
        self.end = Some(match frame {
            Some(frame) if self.passage.judged => {
                self.ready.push_back(Bytes::from(frame));
                Ok(())
            }
            _ => Err(Cut { whose: format!("backend {backend}"), what }),
        });
    }

    /// Notes the end for those who ask or listen.
    fn close(&self, ending: Ending, status: u16) {
        let wire::Usage { prompt, cached, output, .. } = self.tap.report().usage;
        let Passage { shared, note, .. } = &self.passage;
        shared.journal.close(note, ending, status, Tokens { prompt, cached, output });
    }

    /// Prompt tokens that were cached, where that is told.
    fn cached(&self) -> Option<u64> {
        self.tap.report().usage.cached.filter(|cached| *cached > 0 || !self.passage.uncounted)
    }

    fn release(&mut self, outcome: Outcome) {
        let Some(mut lease) = self.lease.take() else { return };
        let narrow = |count: Option<u64>| count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let wire::Report { usage, timing, finish, calls, .. } = self.tap.report();
        lease.outcome = outcome;
        lease.usage = sched::Usage {
            cached: narrow(self.cached()),
            prompt: narrow(usage.prompt),
            output: narrow(usage.output),
            prefill: timing.prefill_us.map(Span),
            end: match finish {
                Some(_) if *calls => End::Tool,
                Some(_) => End::Turn,
                None => End::Unknown,
            },
        };
    }

    /// The whole answer where it came in one piece and is all here already.
    pub fn whole(&mut self) -> Option<Bytes> {
        let here = matches!(self.end, Some(Ok(()))) && self.passage.framing == Framing::Whole;
        (here && self.ready.len() <= 1).then(|| self.ready.pop_front().unwrap_or_default())
    }

    /// The next bytes for the client.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            match &mut self.end {
                Some(Ok(())) => return Poll::Ready(None),
                Some(end @ Err(_)) => {
                    let cut = std::mem::replace(end, Ok(()));
                    return Poll::Ready(cut.err().map(Err));
                }
                None => {}
            }
            if self.passage.shared.cuts() {
                let fault = Fault::Draining { retry_after_s: 1 };
                self.cut(Outcome::Aborted, "the data plane stops".to_owned(), &fault);
                continue;
            }
            match wake::poll_frame(&mut self.upstream, cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.watch.heard();
                        self.take(chunk);
                    }
                    if self.end.is_none() && self.upstream.is_end_stream() {
                        self.finish();
                    }
                }
                Poll::Ready(Some(Err(error))) => self.broke(&error),
                Poll::Ready(None) => self.finish(),
                Poll::Pending => {
                    let passed = std::task::ready!(self.watch.poll(cx));
                    self.late(&passed);
                }
            }
        }
    }
}

impl Drop for Relay {
    /// The client left, or took all it wanted: the upstream connection closes at once.
    fn drop(&mut self) {
        if self.end.is_some() {
            return;
        }
        if self.tap.report().complete {
            self.settle(Outcome::Done);
        } else {
            self.passage.shared.report.left();
            self.wire = None;
            self.release(Outcome::Aborted);
            self.close(Ending::Left, self.passage.status);
        }
    }
}
