//! The listener that clients talk to: one current-thread runtime a core, each with its own connection pool.

use std::{
    hash::{BuildHasher as _, DefaultHasher, Hash, Hasher as _, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    task::LocalSet,
};

use crate::{
    config::Snapshot,
    dispatch::Dispatch,
    journal::Journal,
    peer::LeadSeen,
    provider,
    report::Report,
    upstream::{Pool, Tls},
};

mod accept;
pub mod admin;
mod body;
mod budget;
mod call;
mod class;
mod forward;
mod heads;
mod id;
mod intake;
mod local;
mod secure;
mod target;

pub use body::Body;
use budget::Budget;
pub use id::RequestId;
pub use secure::{Secure, TlsError, TlsFiles};
use target::Inquiry;

/// Answers that are cut at the end of the grace have this long to reach their clients.
pub const CUT_WITHIN: Duration = Duration::from_secs(1);

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
    /// What is known of the lead, where one is looked for.
    pub lead: OnceLock<watch::Receiver<Option<LeadSeen>>>,
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
            lead: OnceLock::new(),
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

    /// The lead by `term` does not answer: requests run on what is held here, or are passed on.
    #[must_use]
    pub fn without_lead(&self, term: u64) -> bool {
        let seen = self.lead.get().and_then(|lead| *lead.borrow());
        seen.is_some_and(|seen| seen.silent && seen.term == term)
    }

    fn request_id(&self) -> RequestId {
        RequestId::new(&self.id_prefix, self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// The same on all data planes of an installation; nobody else can tell what it is made of.
    fn hash(&self, salt: u64, what: impl Hash) -> u64 {
        let mut hasher = match salt {
            0 => self.keys.build_hasher(),
            salt => {
                let mut hasher = DefaultHasher::new();
                salt.hash(&mut hasher);
                hasher
            }
        };
        what.hash(&mut hasher);
        hasher.finish()
    }

    /// Who asks: the hash of the credential presented, else of the peer's address.
    fn key(&self, headers: &HeaderMap, peer: IpAddr) -> u64 {
        let presented =
            provider::CREDENTIALS.iter().filter_map(|name| headers.get(name)).find(|value| !value.is_empty());
        let salt = self.snapshot.load().salt;
        match presented {
            Some(value) => self.hash(salt, value.as_bytes()),
            None => self.hash(salt, peer),
        }
    }

    /// What is asked for, by the name of the model.
    fn asked(&self, snapshot: &Snapshot, model: &str) -> u64 {
        self.hash(snapshot.salt, model)
    }
}

/// What one thread works with.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    pool: Rc<Pool>,
}

/// Connections by which other data planes pass requests on, for one thread.
pub type Passed = mpsc::Receiver<(std::net::TcpStream, SocketAddr)>;

/// Binds and serves on `threads` threads, each with what is `passed` to it, until `stop` says so, then until all is answered or cut; by TLS where `secure`
/// is given.
///
/// # Errors
/// The system's word when the address cannot be bound or a thread not started.
pub fn start(
    listen: SocketAddr,
    threads: usize,
    shared: &Arc<Shared>,
    secure: Option<Secure>,
    passed: Vec<Passed>,
    stop: &watch::Receiver<Phase>,
) -> io::Result<(SocketAddr, Vec<thread::JoinHandle<()>>)> {
    let listener = std::net::TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let tls = Arc::new(Tls::default());
    let secure = secure.map(Arc::new);
    let mut handles = Vec::with_capacity(threads);
    let mut passed = passed.into_iter();
    for number in 0..threads.max(1) {
        let passed = passed.next();
        let (listener, shared, tls, stop) =
            (listener.try_clone()?, shared.clone(), tls.clone(), stop.clone());
        let secure = secure.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let local = LocalSet::new();
            let worker = Rc::new(Worker { shared, pool: Pool::new(tls) });
            local.block_on(&runtime, accept::accept(listener, worker, (secure, passed), stop));
        };
        handles.push(thread::Builder::new().name(format!("serve-{number}")).spawn(run)?);
    }
    Ok((bound, handles))
}

/// Returns when the process shall stop; a sender that is gone means the same.
pub async fn stopped(stop: &mut watch::Receiver<Phase>) {
    reached(stop, Phase::Closing).await;
}

async fn reached(stop: &mut watch::Receiver<Phase>, phase: Phase) {
    let _ = stop.wait_for(|now| *now >= phase).await;
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
