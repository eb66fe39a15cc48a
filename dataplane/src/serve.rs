//! The listener that clients talk to: one current-thread runtime a core, each with its own connection pool.

use std::{
    convert::Infallible,
    future::poll_fn,
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{HeaderMap, Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Builder,
    sync::watch,
    task::{JoinSet, LocalSet},
};

use crate::{
    config::Snapshot,
    deadline::Alarm,
    dispatch::Dispatch,
    journal::Journal,
    provider,
    report::Report,
    upstream::{Pool, Tls},
    wake::Gate,
};

pub mod admin;
mod body;
mod budget;
mod call;
mod class;
mod heads;
mod id;
mod intake;
mod local;
mod secure;
mod target;

pub use body::Body;
use budget::Budget;
use heads::{Bytes, Heads, Heard};
pub use id::RequestId;
pub use secure::{Secure, TlsError, TlsFiles};

/// Bytes of the head of one request at most.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// Read buffer of one connection at most.
const BUFFER_BYTES_MAX: usize = 256 * 1024;
/// How often idle upstream connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Answers that are cut at the end of the grace have this long to reach their clients.
pub const CUT_WITHIN: Duration = Duration::from_secs(1);
/// After a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    Serving,
    /// Nobody new is let in; what runs goes on.
    Closing,
    /// What still runs is cut.
    Cutting,
}

/// What bounds a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a request body, after decompression.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies that wait for an answer.
    pub bodies_bytes_max: usize,
    /// In the queue.
    pub queue_wait: Duration,
    /// A stream without content by then is begun with keep-alives.
    pub stream_wait: Duration,
    /// For a TLS handshake, and for the head of a request from its first byte, or from the first moment of a connection.
    pub head_wait: Duration,
    /// Between two requests of a connection.
    pub idle_wait: Duration,
    /// For each piece of a request body.
    pub piece_wait: Duration,
}

/// What all threads share.
#[derive(Debug)]
pub struct Shared {
    /// The one truth.
    pub snapshot: ArcSwap<Snapshot>,
    /// The scheduling core.
    pub dispatch: Arc<Dispatch>,
    /// Counters.
    pub report: Report,
    /// Recent requests.
    pub journal: Journal,
    /// Bounds.
    pub limits: Limits,
    cutting: AtomicBool,
    budget: Budget,
    keys: RandomState,
    ids: AtomicU64,
    id_prefix: String,
}

impl Shared {
    /// State of a data plane whose requests are numbered behind `id_prefix`.
    #[must_use]
    pub fn new(snapshot: Snapshot, dispatch: Arc<Dispatch>, limits: Limits, id_prefix: String) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            dispatch,
            report: Report::new(),
            journal: Journal::new(id_prefix.clone()),
            limits,
            cutting: AtomicBool::new(false),
            budget: Budget::new(limits.bodies_bytes_max),
            keys: RandomState::new(),
            ids: AtomicU64::new(0),
            id_prefix,
        }
    }

    /// Serves by another snapshot from now on; requests that were placed go on as they were.
    pub fn swap(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let publish = || self.snapshot.store(snapshot.clone());
        self.dispatch.adopt(&snapshot, publish);
    }

    /// The grace is over: answers that still run end in an error when they are looked at next.
    pub fn cut(&self) {
        self.cutting.store(true, Ordering::Relaxed);
    }

    /// Whether answers that still run are to end.
    #[must_use]
    pub fn cuts(&self) -> bool {
        self.cutting.load(Ordering::Relaxed)
    }

    fn request_id(&self) -> RequestId {
        RequestId::new(&self.id_prefix, self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Who asks: the hash of the credential presented, else of the peer's address.
    fn key(&self, headers: &HeaderMap, peer: IpAddr) -> u64 {
        let presented =
            provider::CREDENTIALS.iter().filter_map(|name| headers.get(name)).find(|value| !value.is_empty());
        match presented {
            Some(value) => self.keys.hash_one(value.as_bytes()),
            None => self.keys.hash_one(peer),
        }
    }

    /// What is asked for, by the name of the model.
    fn asked(&self, model: &str) -> u64 {
        self.keys.hash_one(model)
    }
}

/// What one thread works with.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    pool: Rc<Pool>,
}

/// Binds and serves on `threads` threads until `stop` says so, then until all is answered or cut; by TLS where `secure`
/// is given.
///
/// # Errors
/// The system's word when the address cannot be bound or a thread not started.
pub fn start(
    listen: SocketAddr,
    threads: usize,
    shared: &Arc<Shared>,
    secure: Option<Secure>,
    stop: &watch::Receiver<Phase>,
) -> io::Result<(SocketAddr, Vec<thread::JoinHandle<()>>)> {
    let listener = std::net::TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let tls = Arc::new(Tls::default());
    let secure = secure.map(Arc::new);
    let mut handles = Vec::with_capacity(threads);
    for number in 0..threads.max(1) {
        let (listener, shared, tls, stop) =
            (listener.try_clone()?, shared.clone(), tls.clone(), stop.clone());
        let secure = secure.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let local = LocalSet::new();
            let worker = Rc::new(Worker { shared, pool: Pool::new(tls) });
            local.block_on(&runtime, accept(listener, worker, secure, stop));
        };
        handles.push(thread::Builder::new().name(format!("serve-{number}")).spawn(run)?);
    }
    Ok((bound, handles))
}

async fn accept(
    listener: std::net::TcpListener,
    worker: Rc<Worker>,
    secure: Option<Arc<Secure>>,
    mut stop: watch::Receiver<Phase>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the listener cannot be used"),
    };
    let mut connections = JoinSet::new();
    let told = stop.clone();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            _ = sweep.tick() => {
                worker.pool.sweep();
                if let Some(secure) = &secure {
                    secure.refresh();
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let (worker, told) = (worker.clone(), told.clone());
                    match secure.clone() {
                        None => connections.spawn_local(connection(stream, peer, worker, told)),
                        Some(secure) => connections.spawn_local(async move {
                            let wait = worker.shared.limits.head_wait;
                            if let Some(stream) = secure.accept(stream, wait).await {
                                connection(stream, peer, worker, told).await;
                            }
                        }),
                    };
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let cut = async {
        reached(&mut stop, Phase::Cutting).await;
        tokio::time::sleep(CUT_WITHIN).await;
    };
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = cut => {}
    }
}

/// Returns when the process shall stop; a sender that is gone means the same.
pub async fn stopped(stop: &mut watch::Receiver<Phase>) {
    reached(stop, Phase::Closing).await;
}

async fn reached(stop: &mut watch::Receiver<Phase>, phase: Phase) {
    let _ = stop.wait_for(|now| *now >= phase).await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    worker: Rc<Worker>,
    mut stop: watch::Receiver<Phase>,
) {
    let Limits { head_wait, idle_wait, .. } = worker.shared.limits;
    let (alarm, bytes) = (Alarm::default(), Bytes::default());
    let heads = Heads { alarm: alarm.clone(), head_wait, bytes: bytes.clone(), first: true.into() };
    let service = service_fn(move |request: Request<Incoming>| {
        let (worker, alarm) = (worker.clone(), alarm.clone());
        async move { Ok::<Response<Body>, Infallible>(target::answer(&worker, request, peer.ip(), alarm).await) }
    });
    let connection = http1::Builder::new()
        .timer(heads)
        .header_read_timeout(idle_wait.max(head_wait))
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Heard { stream, bytes }), service);
    let mut connection = std::pin::pin!(connection);
    let mut told = stop.clone();
    let mut stopped = std::pin::pin!(stopped(&mut stop));
    let mut listens = false;
    let mut gate = Gate::default();
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(&mut Context::from_waker(gate.waker(cx))) {
            return Poll::Ready(Some(ended));
        }
        // To listen for the end costs more than to see that it has not come; the waker of a task stays the same.
        let ends = (!listens || told.has_changed().unwrap_or(true)) && stopped.as_mut().poll(cx).is_ready();
        listens = true;
        if ends { Poll::Ready(None) } else { Poll::Pending }
    });
    let ended = match ended.await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                // Looked at once more, an answer that still runs ends in an error.
                () = reached(&mut told, Phase::Cutting) => connection.await,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a client's connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_by_credential_or_peer_and_never_by_a_forwarded_address() {
        let snapshot = Snapshot::empty(1);
        let dispatch = Dispatch::new(1, snapshot.fleet.clone());
        let wait = Duration::from_secs(1);
        let limits = Limits {
            body_bytes_max: 1,
            bodies_bytes_max: 1,
            queue_wait: wait,
            stream_wait: wait,
            head_wait: wait,
            idle_wait: wait,
            piece_wait: wait,
        };
        let shared = Shared::new(snapshot, dispatch, limits, "00000000".to_owned());
        let key = |peer: [u8; 4], headers: &[(&'static str, &'static str)]| {
            let header = |(name, value): &(&'static str, &'static str)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            };
            shared.key(&headers.iter().map(header).collect(), IpAddr::from(peer))
        };
        let (one, two) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "via"] {
            assert_eq!(key(one, &[(name, "10.0.0.2")]), key(one, &[]), "{name}");
        }
        assert_ne!(key(one, &[]), key(two, &[]));
        let (a, b) = (("authorization", "Bearer a"), ("x-api-key", "b"));
        assert_eq!(key(one, &[a, ("x-forwarded-for", "10.0.0.9")]), key(two, &[a]));
        assert_ne!(key(one, &[a]), key(one, &[b]));
        assert_eq!(key(one, &[("authorization", "")]), key(one, &[]), "an empty one is none");
    }
}
