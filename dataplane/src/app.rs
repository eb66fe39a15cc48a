//! Wires the data plane together and takes it down again.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use proto::v1;
use sched::Fleet;
use tape::Recorder;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{
        Parser, Snapshot, file,
        follow::Follower,
        identity::{Identity, IdentityError},
        keep::Keeper,
    },
    dispatch::Dispatch,
    limits,
    peer::{Names, link::Seen, listen::passing},
    serve::{self, CUT_WITHIN, Limits, Phase, Secure, Shared, admin},
};

mod peers;
mod settings;

use peers::{Door, Peers};

pub use crate::serve::{TlsError, TlsFiles};
pub use settings::{Settings, state_dir};

/// The control plane is told within this time that it ends.
const BYE_WITHIN: Duration = Duration::from_secs(3);

/// The end of the tape has this long to reach the disk.
const TAPE_WITHIN: Duration = Duration::from_secs(10);

/// Why a data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody could be kept out.
    #[error(
        "{0} is not a loopback address and there is no authentication yet: add --insecure-listen to serve it all the same"
    )]
    Exposed(SocketAddr),
    /// Neither given.
    #[error("nothing to serve: give --control URL or --snapshot FILE")]
    NoSource,
    /// The state directory cannot be used, or another one is there.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The snapshot given by hand cannot be used.
    #[error("{0}")]
    Snapshot(String),
    /// Certificate or key cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The tape cannot be written.
    #[error("the tape {path} cannot be written: {source}")]
    Tape {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// An address cannot be bound.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
}

/// A running data plane.
#[derive(Debug)]
pub struct Running {
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Where the operator looks in.
    pub admin: SocketAddr,
    /// Where other data planes knock; none: it follows nobody.
    pub peer: Option<SocketAddr>,
    peers: Option<Peers>,
    stop: watch::Sender<Phase>,
    ready: watch::Receiver<bool>,
    threads: Vec<thread::JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    grace: Duration,
    follower: Option<JoinHandle<()>>,
    over: CancellationToken,
    _identity: Arc<Identity>,
}

impl Running {
    /// Waits until there is a snapshot to serve by; false when there is none by the deadline.
    pub async fn ready(&self, deadline: Duration) -> bool {
        let mut ready = self.ready.clone();
        let got = tokio::time::timeout(deadline, ready.wait_for(|ready| *ready)).await;
        matches!(got, Ok(Ok(_)))
    }

    /// Refuses what waits, stops accepting, lets running answers end within the grace, then ends.
    pub async fn stop(self) {
        self.shared.dispatch.tell(sched::Event::Close);
        // Receivers that are gone have stopped already.
        let _ = self.stop.send(Phase::Closing);
        let mut join = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                if thread.join().is_err() {
                    tracing::error!("a serving thread had panicked");
                }
            }
        });
        if tokio::time::timeout(self.grace, &mut join).await.is_err() {
            tracing::warn!(
                grace_s = self.grace.as_secs_f32(),
                "answers still running at the end of the grace are cut"
            );
            self.shared.cut();
            let _ = self.stop.send(Phase::Cutting);
            if tokio::time::timeout(CUT_WITHIN + Duration::from_secs(5), join).await.is_err() {
                tracing::error!("the serving threads do not end");
            }
        }
        for task in self.tasks {
            task.abort();
        }
        let mut peers = self.peers;
        if let Some(peers) = &mut peers {
            peers.end().await;
        }
        // Nothing runs any more: the control plane may know.
        self.over.cancel();
        if let Some(follower) = self.follower
            && tokio::time::timeout(BYE_WITHIN, follower).await.is_err()
        {
            tracing::warn!("the control plane was not told of the end");
        }
        let Some(tape) = self.shared.dispatch.untape() else { return };
        match tokio::time::timeout(TAPE_WITHIN, tokio::task::spawn_blocking(|| tape.close())).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the tape is not whole"),
            Ok(Err(_)) | Err(_) => tracing::error!("the tape is not whole: its writer does not end"),
        }
    }
}

/// Starts a data plane on the current runtime and threads of its own.
///
/// # Errors
/// [`StartError`], in words for the operator.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    for addr in [Some(settings.listen), Some(settings.admin), settings.peer].into_iter().flatten() {
        if !addr.ip().is_loopback() && !settings.insecure_listen {
            return Err(StartError::Exposed(addr));
        }
    }
    let secure = settings.tls.clone().map(Secure::new).transpose()?;
    limits::raise_files();
    let folder = settings.state_dir.join("data");
    let identity = Arc::new(Identity::claim(&folder)?);
    let alone = settings.control.is_none();
    let door = Door::bind(&settings).await?;
    let names = Arc::new(Names::default());
    let mut parser = Parser::named(settings.queue_max, alone, names.clone());
    parser.own = (!alone).then(|| (identity.plane.clone(), identity.incarnation));
    parser.reachable = door.as_ref().is_some_and(|door| !door.told.is_empty());
    let kept = folder.join("snapshot.json");
    let (current, snapshot) = first_snapshot(&settings, &kept, &mut parser)?;
    let dispatch = dispatch(&settings, &snapshot)?;
    let prefix = identity.process[..8].to_owned();
    let shared = Arc::new(Shared::new(snapshot, dispatch.clone(), bounds(&settings), prefix));
    let (stop, stopped) = watch::channel(Phase::Serving);
    let threads = match settings.threads {
        0 => thread::available_parallelism().map_or(2, usize::from).min(8),
        count => count,
    };
    let bind = |addr| move |source| StartError::Listen { addr, source };
    let (passing, passed) = passing(threads);
    let (listen, threads) = serve::start(settings.listen, threads, &shared, secure, passed, &stopped)
        .map_err(bind(settings.listen))?;
    let admin =
        admin::start(settings.admin, shared.clone(), stopped.clone()).await.map_err(bind(settings.admin))?;
    let (ready, is_ready) = watch::channel(current.is_some());
    let tasks = vec![tokio::spawn(async move { dispatch.tick().await })];
    let over = CancellationToken::new();
    let mut hello = hello(&identity, (listen, admin));
    let peer = door.as_ref().map(|door| door.addr);
    let (mut peers, mut follower) = (None, None);
    if let Some(door) = door {
        hello.peer.clone_from(&door.told);
        hello.permits = !door.told.is_empty();
        let (begun, seen) = Peers::begin(door, (names, &shared), passing, over.child_token());
        let told = (hello, seen, shared.clone());
        follower = follow(&settings, parser, (kept, current), told, (ready, over.clone()));
        peers = Some(begun);
    }
    let (plane, incarnation) = (&identity.plane, identity.incarnation);
    tracing::info!(%listen, %admin, ?peer, plane, incarnation, "data plane serves");
    let (grace, _identity) = (settings.grace, identity);
    Ok(Running {
        listen,
        admin,
        peer,
        peers,
        stop,
        ready: is_ready,
        threads,
        tasks,
        shared,
        grace,
        follower,
        over,
        _identity,
    })
}

/// Follows the control plane, where there is one.
fn follow(
    settings: &Settings,
    parser: Parser,
    (kept, current): (PathBuf, Option<v1::Snapshot>),
    (hello, seen, shared): (v1::Hello, Seen, Arc<Shared>),
    (ready, over): (watch::Sender<bool>, CancellationToken),
) -> Option<JoinHandle<()>> {
    let follower = Follower {
        control: settings.control.clone()?,
        shared,
        parser,
        keeper: Keeper::new(kept),
        hello,
        trust: settings.trust_control,
        current,
        ready,
        doubt_after: settings.doubt_after,
        lost: Some(tokio::time::Instant::now()),
        gap: false,
        seen,
    };
    Some(tokio::spawn(follower.run(over)))
}

fn bounds(settings: &Settings) -> Limits {
    Limits {
        body_bytes_max: settings.body_bytes_max,
        bodies_bytes_max: settings.bodies_bytes_max.max(settings.body_bytes_max),
        queue_wait: settings.queue_wait,
        stream_wait: settings.stream_wait,
        head_wait: settings.head_wait,
        idle_wait: settings.idle_wait,
        piece_wait: settings.piece_wait,
    }
}

/// The core, with a tape where one is wanted.
fn dispatch(settings: &Settings, snapshot: &Snapshot) -> Result<Arc<Dispatch>, StartError> {
    let (seed, fleet) = (random(), snapshot.fleet_alone());
    let Some(path) = &settings.tape else { return Ok(Dispatch::new(seed, fleet)) };
    let begun = Recorder::create(path, seed, Fleet::clone(&fleet), settings.tape_bytes_max);
    let mut tape = begun.map_err(|source| StartError::Tape { path: path.clone(), source })?;
    tape.name(snapshot.names());
    Ok(Dispatch::taped(seed, fleet, Some(tape)))
}

fn hello(identity: &Identity, (listen, admin): (SocketAddr, SocketAddr)) -> v1::Hello {
    v1::Hello {
        plane_id: identity.plane.clone(),
        incarnation: identity.incarnation,
        process: identity.process.clone(),
        locked: true,
        serves: listen.to_string(),
        admin: admin.to_string(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..v1::Hello::default()
    }
}

/// What is served until the control plane speaks: the file given, or the last good one.
fn first_snapshot(
    settings: &Settings,
    kept: &Path,
    parser: &mut Parser,
) -> Result<(Option<v1::Snapshot>, Snapshot), StartError> {
    let empty = || (None, Snapshot::empty(settings.queue_max));
    let path = match (&settings.snapshot, &settings.control) {
        (Some(path), None) => path,
        (None, None) => return Err(StartError::NoSource),
        (_, Some(_)) if !kept.exists() => return Ok(empty()),
        (_, Some(_)) => kept,
    };
    let read = file::read(path).map_err(|error| error.to_string());
    let parsed = read.and_then(|snapshot| {
        let parsed = parser.parse(&snapshot).map_err(|faults| faults.join("\n"))?;
        Ok((Some(snapshot), parsed))
    });
    match parsed {
        Ok(found) => Ok(found),
        Err(fault) if settings.control.is_some() => {
            tracing::error!(fault, "the kept snapshot is not used; waiting for the control plane");
            Ok(empty())
        }
        Err(fault) => Err(StartError::Snapshot(fault)),
    }
}

fn random() -> u64 {
    getrandom::u64().expect("the system gives random bytes")
}
