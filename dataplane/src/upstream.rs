//! Connections to backends: a pool for each thread, without locks and without a hidden ceiling.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use tokio::task::AbortHandle;

use crate::{deadline::Passed, provider::Base};

mod connect;
mod meter;

pub use connect::Tls;

/// An idle connection is not used again after this, unless the server said `keep-alive: timeout`.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Subtracted from what a server promises: llama.cpp closes after 5 s without a word.
const IDLE_MARGIN: Duration = Duration::from_millis(1500);
/// A pooled connection that is not ready by then is left.
const READY_MAX: Duration = Duration::from_millis(50);
/// A connection that was closed while it idled says so by then. One that breaks later breaks over the request, which
/// must not be sent twice.
const STALE_WITHIN: Duration = Duration::from_secs(1);
/// Idle connections kept for each backend and thread; more are closed when they fall idle.
const IDLE_COUNT_MAX: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Nobody listens there, or nobody is there.
    #[error("cannot connect: {0}")]
    Refused(#[source] io::Error),
    /// Too slow to connect.
    #[error("{0}")]
    ConnectTimeout(Passed),
    /// The connection broke before the head of an answer.
    #[error("the connection broke before an answer: {0}")]
    Broken(#[source] hyper::Error),
    /// All connections were closed meanwhile, by [`Pool::cut`].
    #[error("all that ran here was ended, as this data plane counts as dead")]
    Cut,
}

/// An open connection. Dropped, it is closed at once, which makes the engine stop.
#[derive(Debug)]
pub struct Wire {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
    room: meter::Room,
    base: Arc<Base>,
    /// How long the server keeps it when idle.
    idle_max: Duration,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Idle {
    wire: Wire,
    since: Instant,
}

/// The connections of one thread.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<BTreeMap<Arc<Base>, Vec<Idle>>>,
    /// Of all that were opened, as many as may be open at once, and those that closed since the last sweep.
    tasks: RefCell<Vec<AbortHandle>>,
    cuts: Cell<u64>,
    tls: Arc<Tls>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(tls: Arc<Tls>) -> Rc<Self> {
        Rc::new(Self { idle: RefCell::default(), tasks: RefCell::default(), cuts: Cell::default(), tls })
    }

    /// Sends what `request` makes to `base`, connecting within `connect_within`, and waits for the head of the answer.
    ///
    /// A connection that turns out at once to have been closed while it idled is replaced by a fresh one, once: the
    /// server has not answered anything on it.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn send(
        self: &Rc<Self>,
        base: &Arc<Base>,
        request: impl Fn() -> Request<Full<Bytes>>,
        connect_within: Duration,
    ) -> Result<(Response<Incoming>, Wire), UpstreamError> {
        let cuts = self.cuts();
        if let Some(mut wire) = self.take(base).await {
            wire.room.narrow();
            let sent = Instant::now();
            match wire.sender.send_request(request()).await {
                Ok(answer) => return Ok(answered(answer, wire)),
                Err(error) if sent.elapsed() > STALE_WITHIN => return Err(UpstreamError::Broken(error)),
                Err(error) => {
                    tracing::debug!(backend = ?base.authority, %error, "idle connection was closed")
                }
            }
        }
        // Rare beside reuse, and larger than all the rest of a request's future.
        let mut wire = Box::pin(self.open(base, connect_within, cuts)).await?;
        let answer = wire.sender.send_request(request()).await.map_err(UpstreamError::Broken)?;
        Ok(answered(answer, wire))
    }

    /// A connection for a request that came when there had been so many `cuts`.
    async fn open(&self, base: &Arc<Base>, within: Duration, cuts: u64) -> Result<Wire, UpstreamError> {
        let opened = tokio::time::timeout(within, connect::open(base, &self.tls)).await;
        if self.cuts() != cuts {
            return Err(UpstreamError::Cut);
        }
        let late = |_| UpstreamError::ConnectTimeout(Passed::connect(within));
        let (sender, task, room) = opened.map_err(late)??;
        self.tasks.borrow_mut().push(task.clone());
        Ok(Wire { sender, task, room, base: base.clone(), idle_max: IDLE_MAX })
    }

    async fn take(&self, base: &Arc<Base>) -> Option<Wire> {
        loop {
            let mut found = self.idle.borrow_mut().get_mut(base)?.pop()?;
            if found.since.elapsed() >= found.wire.idle_max {
                continue;
            }
            if found.wire.sender.is_ready() {
                return Some(found.wire);
            }
            // The connection's task may still be turning around after the last answer.
            let ready = Box::pin(tokio::time::timeout(READY_MAX, found.wire.sender.ready())).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(found.wire);
            }
        }
    }

    /// Takes a connection whose answer has been read to the end.
    pub fn put(&self, wire: Wire) {
        if wire.sender.is_closed() || wire.idle_max.is_zero() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.entry(wire.base.clone()).or_default();
        if waiting.len() < IDLE_COUNT_MAX {
            waiting.push(Idle { wire, since: Instant::now() });
        }
    }

    /// How often all connections were closed.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.cuts.get()
    }

    /// Closes all connections at once, so that every engine stops; whoever waits on one finds it broken.
    pub fn cut(&self) {
        self.cuts.set(self.cuts() + 1);
        self.idle.borrow_mut().clear();
        self.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
    }

    /// Closes what has idled too long.
    pub fn sweep(&self) {
        self.tasks.borrow_mut().retain(|task| !task.is_finished());
        self.idle.borrow_mut().retain(|_, waiting| {
            waiting.retain(|idle| idle.since.elapsed() < idle.wire.idle_max && !idle.wire.sender.is_closed());
            !waiting.is_empty()
        });
    }
}

fn answered(answer: Response<Incoming>, mut wire: Wire) -> (Response<Incoming>, Wire) {
    wire.room.widen();
    let told = answer.headers().get("keep-alive").and_then(|value| value.to_str().ok()).and_then(idle_told);
    if let Some(told) = told {
        wire.idle_max = told.saturating_sub(IDLE_MARGIN).min(IDLE_MAX);
    }
    (answer, wire)
}

/// The seconds of `timeout=N` in a `keep-alive` header.
fn idle_told(value: &str) -> Option<Duration> {
    let told = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    told.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn keep_alive_header() {
        assert_eq!(super::idle_told("timeout=5, max=100"), Some(Duration::from_secs(5)));
        assert_eq!(super::idle_told("max=100"), None);
    }
}
