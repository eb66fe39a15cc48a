//! Wires everything; the only file that knows all others.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    api::{self, Api},
    model::{Desired, Health},
    plan::{Picture, Planner, check::check},
    probe::watch::{Pace, Sights},
    publish::{self, Publisher, enrol::Enrol, follow::FollowService},
    store::{EngineFault, Identity, Store, disk::Disk, finding},
    web::{self, Web},
};

/// The first snapshot waits this long at most for the first look at each backend: without it a restart would tell
/// data planes that nothing is known.
const FIRST_LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Findings that wait to be kept at most.
const FINDINGS_MAX: usize = 256;
/// Changes that come together are planned together.
const GATHER: Duration = Duration::from_millis(10);
/// After a plan, what probes find anew is planned no sooner than this: servers that come and go are told of four times a
/// second.
const REST: Duration = Duration::from_millis(250);
/// Between two looks at the writer.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Requests that run when it stops may go on for this long.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// A peer that does not answer a ping within [`PING_WITHIN`] is gone.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(10);

/// Silence counts as death after this at the earliest: a control plane that is started again must be back long before.
pub const RECLAIM_MIN: Duration = Duration::from_secs(20);

/// How a control plane runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Management: gRPC, health, metrics. Port 0: any free one.
    pub listen: SocketAddr,
    /// Listen on an address that is not loopback, though nobody is authenticated.
    pub insecure_listen: bool,
    /// Where the store is; made if missing.
    pub state_dir: PathBuf,
    /// From one probe of a backend to the next, start to start.
    pub probe_interval: Duration,
    /// For one question of a probe.
    pub probe_timeout: Duration,
    /// A data plane that was silent for so long counts as dead, and stops by itself before; `None`: silence is no death.
    /// At least [`RECLAIM_MIN`].
    pub reclaim_silent_after: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8801)),
            insecure_listen: false,
            state_dir: default_state_dir(),
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(2),
            reclaim_silent_after: None,
        }
    }
}

/// `$XDG_STATE_HOME/llmb`, else `~/.local/state/llmb`.
#[must_use]
pub fn default_state_dir() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").filter(|dir| dir.is_absolute());
    let state = state.or_else(|| Some(set("HOME")?.join(".local/state")));
    state.unwrap_or_else(|| PathBuf::from(".")).join("llmb")
}

/// Why a control plane does not start. Each is a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not loopback.
    #[error(
        "{0} can be reached from other machines and nobody is authenticated yet: give --insecure-listen to do so"
    )]
    Exposed(SocketAddr),
    /// The port is taken, or the address is not ours.
    #[error("cannot listen on {addr}: {}", listening(.source))]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] EngineFault),
    /// Too soon.
    #[error(
        "--reclaim-silent-after {0:?} is not allowed: at least {RECLAIM_MIN:?}, as all data planes stop when the control \
         plane is gone for so long"
    )]
    Reclaim(Duration),
    /// No random numbers, or a broken build.
    #[error("cannot start: {0}")]
    Inside(String),
}

fn listening(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it or give another --listen".to_owned()
        }
        _ => source.to_string(),
    }
}

/// A control plane that runs.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    store: Arc<Store>,
    publisher: Arc<Publisher>,
    failed: watch::Receiver<Option<String>>,
}

impl Running {
    /// Waits until it can no longer do its work; why, in words. The process should end then, with an error.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "its tasks have ended".to_owned(),
        }
    }

    /// Stops: no new work, running requests end, the store is closed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.publisher.close();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::warn!("connections are cut: they did not end in time");
            self.tasks.shutdown().await;
        }
        let store = Arc::clone(&self.store);
        // The writer is joined off the runtime: it ends with the disk.
        let closed = tokio::task::spawn_blocking(move || store.stop());
        if tokio::time::timeout(STOP_WITHIN, closed).await.is_err() {
            tracing::error!("the store did not close in time");
        }
    }
}

/// Starts a control plane in this process.
///
/// # Errors
/// [`StartError`] is a sentence for the operator.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    if !settings.listen.ip().is_loopback() && !settings.insecure_listen {
        return Err(StartError::Exposed(settings.listen));
    }
    if let Some(soon) = settings.reclaim_silent_after.filter(|after| *after < RECLAIM_MIN) {
        return Err(StartError::Reclaim(soon));
    }
    let listening = |source| StartError::Listen { addr: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(listening)?;
    let addr = listener.local_addr().map_err(listening)?;
    let state_dir = settings.state_dir.clone();
    let open = move || Disk::open(&state_dir).map(|disk| Box::new(disk) as Box<_>);
    let store = Arc::new(Store::open(open, fresh()?).await?);
    let publisher = Publisher::new(store.identity().clone(), store.registry());
    let publisher = Arc::new(publisher.reclaiming(settings.reclaim_silent_after));
    let sights: Arc<Sights> = Arc::new(Sights::new(store.first_seen().clone()));
    let stop = CancellationToken::new();
    let (fail, failed) = watch::channel(None);
    let mut tasks = JoinSet::new();

    let pace = Pace { interval: settings.probe_interval, timeout: settings.probe_timeout };
    let (found, findings) = mpsc::channel(FINDINGS_MAX);
    tasks.spawn(crate::probe::watch::run(store.watch(), Arc::clone(&sights), found, pace, stop.clone()));
    // It ends when probing does, after the last finding.
    tasks.spawn(finding::keep(Arc::clone(&store), findings));
    let planner = keep_planning(store.watch(), Arc::clone(&sights), Arc::clone(&publisher));
    tasks.spawn(until(stop.clone(), planner));
    let loads = publish::load::run(Arc::clone(&sights), Arc::clone(&publisher));
    tasks.spawn(until(stop.clone(), loads));
    let enrol = Enrol::new(Arc::clone(&publisher), Arc::clone(&store));
    tasks.spawn(until(stop.clone(), enrol.clone().run()));
    tasks.spawn(until(stop.clone(), keep_watch(Arc::clone(&store), fail)));

    let parts = (Arc::clone(&store), Arc::clone(&sights), Arc::clone(&publisher));
    let api = Api::new(parts.0, parts.1, parts.2, enrol.clone(), settings.probe_timeout);
    let follow = FollowService::new(Arc::clone(&publisher), enrol);
    let web = Web { store: Arc::clone(&store), sights, publisher: Arc::clone(&publisher) };
    let routes = api::routes(api, follow).await.map_err(|problem| StartError::Inside(problem.to_string()))?;
    let routes = routes.merge(web::router(web));
    let server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_WITHIN))
        .add_routes(Routes::from(routes));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        if let Err(problem) = server.serve_with_incoming_shutdown(incoming, stopped).await {
            tracing::error!(%problem, "the management listener ended badly");
        }
    });
    tracing::info!(%addr, epoch = store.identity().epoch, revision = store.desired().revision, "control plane runs");
    Ok(Running { addr, stop, tasks, store, publisher, failed })
}

/// Identity for a store that has none yet.
fn fresh() -> Result<Identity, StartError> {
    let inside = |problem: getrandom::Error| StartError::Inside(problem.to_string());
    let (mut lineage, mut salt) = ([0_u8; 16], [0_u8; 32]);
    getrandom::fill(&mut lineage).map_err(inside)?;
    getrandom::fill(&mut salt).map_err(inside)?;
    let lineage = lineage.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Identity { lineage, epoch: 0, salt })
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

async fn keep_planning(
    mut desired: watch::Receiver<Arc<Desired>>,
    sights: Arc<Sights>,
    publisher: Arc<Publisher>,
) {
    let mut seen = sights.subscribe();
    let first_by = Instant::now() + FIRST_LOOK_WITHIN;
    let (mut first, mut planner, mut sound) = (true, Planner::default(), Picture::default());
    loop {
        let rest;
        let now = Arc::clone(&desired.borrow_and_update());
        let picture = {
            let sight = seen.borrow_and_update();
            let looked = |name| sight.get(name).is_some_and(|seen: &Arc<_>| seen.health != Health::Unknown);
            let all = now.backends.keys().all(looked);
            first = first && Instant::now() < first_by && !all;
            // What was never looked at is waited for by somebody.
            rest = if all { REST } else { Duration::ZERO };
            (!first).then(|| planner.plan(&now, &sight))
        };
        if let Some(picture) = picture {
            let faults = check(&picture, &sound);
            if faults.is_empty() {
                sound = picture.clone();
            } else {
                tracing::error!(?faults, "the plan has faults: the last good one stays");
            }
            let did = publisher.publish(picture, faults);
            tracing::debug!(?did, revision = now.revision, "planned");
        }
        let wait = if first { first_by.saturating_duration_since(Instant::now()) } else { Duration::MAX };
        let seen_anew = async {
            // A change of the configuration waits for none of this.
            sleep(rest).await;
            seen.changed().await
        };
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { return },
            changed = seen_anew => if changed.is_err() { return },
            () = sleep(wait) => {}
        }
        sleep(GATHER).await;
    }
}

/// Looks after the writer, who could hang without a word.
async fn keep_watch(store: Arc<Store>, fail: watch::Sender<Option<String>>) {
    loop {
        if let Err(why) = store.ready() {
            tracing::error!(why, "the store takes no writes");
            fail.send_replace(Some(why));
        }
        sleep(WATCH_EVERY).await;
    }
}
