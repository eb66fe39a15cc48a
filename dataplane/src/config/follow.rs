//! Follows the control plane: takes snapshots, answers for each, keeps the last good one, and serves on without it.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use proto::v1::{self, follow_client::FollowClient, follow_down, follow_up};
use sched::{Event, Span};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};

use super::{Order, Parser, keep::Keeper, parse};
use crate::{
    dispatch::words,
    serve::{Phase, Shared, stopped},
};

/// A first reconnect comes after about this long; each next one after twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// A reconnect never comes later than this.
const BACKOFF_MAX: Duration = Duration::from_secs(3);
/// To connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A silent connection is tested this often.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
/// How often the load is looked at; it is sent when it changed.
const LOAD_EVERY: Duration = Duration::from_secs(1);
/// How often credentials are read again.
const CREDENTIALS_EVERY: Duration = Duration::from_secs(30);
/// Messages on their way up at most.
const UP_MAX: usize = 64;
/// A snapshot at most.
const SNAPSHOT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Who follows, and where.
#[derive(Debug)]
pub struct Follower {
    /// URL of the control plane.
    pub control: String,
    /// Where snapshots go.
    pub shared: Arc<Shared>,
    /// Numbers the backends.
    pub parser: Parser,
    /// Keeps the last good snapshot.
    pub keeper: Keeper,
    /// What it says of itself.
    pub hello: v1::Hello,
    /// Accept the snapshots of another store: it runs in this very process.
    pub trust: bool,
    /// The snapshot served now, as it came.
    pub current: Option<v1::Snapshot>,
    /// Set when there is one.
    pub ready: watch::Sender<bool>,
    /// When the control plane has been lost for so long, what it said to be down may be well again.
    pub doubt_after: Duration,
    /// Since when it is lost; none while its word counts.
    pub lost: Option<Instant>,
}

type Streams = (mpsc::Sender<v1::FollowUp>, Streaming<v1::FollowDown>);

/// Why a session with the control plane ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("the control plane cannot be reached: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the stream ended: {0}")]
    Stream(#[from] tonic::Status),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("a health change does not fit onto the snapshot served: asking for a whole one")]
    Gap,
}

impl Follower {
    /// Follows until `stop` says so.
    pub async fn run(mut self, mut stop: watch::Receiver<Phase>) {
        let mut pause = BACKOFF_MIN;
        let mut told = false;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.session() => ended,
                () = stopped(&mut stop) => return,
            };
            if began.elapsed() > BACKOFF_MAX {
                (pause, told) = (BACKOFF_MIN, false);
            }
            if let Err(error) = ended {
                if told {
                    tracing::debug!(%error, "following again");
                } else {
                    tracing::warn!(%error, "serving on with the last good snapshot");
                    told = true;
                }
            }
            self.lost.get_or_insert_with(Instant::now);
            let rest = tokio::time::sleep(pause.mul_f64(0.5 + chance()));
            tokio::select! {
                () = self.meanwhile(rest) => {}
                () = stopped(&mut stop) => return,
            }
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    async fn session(&mut self) -> Result<(), SessionError> {
        let have = self.current.as_ref().and_then(|snapshot| snapshot.version.clone());
        let hello = v1::Hello { have, ..self.hello.clone() };
        let (up, mut down) = self.meanwhile(connect(self.control.clone(), hello)).await?;
        tracing::info!(control = %self.control, "following");
        let mut load = tokio::time::interval(LOAD_EVERY);
        let mut credentials = tokio::time::interval(CREDENTIALS_EVERY);
        let mut said = None;
        loop {
            tokio::select! {
                biased;
                _ = load.tick() => {
                    let now = self.load();
                    if said.as_ref() != Some(&now) {
                        send(&up, follow_up::Message::Load(now.clone())).await?;
                        said = Some(now);
                    }
                }
                _ = credentials.tick() => self.reread(),
                () = until(self.doubt_at()) => self.doubt(),
                // What was acknowledged is on the disk.
                version = self.keeper.kept() => send(&up, follow_up::Message::Ack(v1::Ack { version })).await?,
                message = down.message() => {
                    // What a newer control plane says beside this is nothing that must be known.
                    let Some(message) = message?.ok_or(SessionError::Closed)?.message else { continue };
                    if let Some(refusal) = self.take(message)? {
                        send(&up, follow_up::Message::Nack(refusal)).await?;
                    }
                }
            }
        }
    }

    /// Takes what came down; gives the refusal of it, if it is one.
    fn take(&mut self, message: follow_down::Message) -> Result<Option<v1::Nack>, SessionError> {
        let snapshot = match message {
            follow_down::Message::Snapshot(snapshot) => snapshot,
            follow_down::Message::Health(change) => self.changed(change).ok_or(SessionError::Gap)?,
            follow_down::Message::EngineLoads(loads) => {
                self.heard(&loads);
                return Ok(None);
            }
        };
        let version = snapshot.version.clone();
        let doubting = std::mem::take(&mut self.parser.doubting);
        let Err(faults) = self.offer(snapshot) else {
            self.lost = None;
            if doubting {
                self.renew();
            }
            self.keeper.keep(self.current.clone().expect("it was just taken"));
            return Ok(None);
        };
        // What is served is not its word.
        self.parser.doubting = doubting;
        self.lost.get_or_insert_with(Instant::now);
        for fault in &faults {
            tracing::error!(fault, "a snapshot is refused; the last good one stays");
        }
        Ok(Some(v1::Nack { version, faults }))
    }

    /// Passes on how busy servers said that they are.
    fn heard(&self, loads: &v1::EngineLoads) {
        let snapshot = self.shared.snapshot.load();
        for load in &loads.backends {
            let backend = snapshot.backends.iter().find(|backend| *backend.name == *load.name);
            if let Some(backend) = backend {
                let age = Span::from_millis(u64::from(load.age_ms));
                let event = Event::Told { backend: backend.id, requests: load.requests, age };
                self.shared.dispatch.tell(event);
            }
        }
    }

    /// The current snapshot with new health.
    fn changed(&self, change: v1::HealthChange) -> Option<v1::Snapshot> {
        let mut snapshot = self.current.clone()?;
        if snapshot.version != change.base {
            return None;
        }
        snapshot.version = change.version;
        for row in change.backends {
            let backend = snapshot.backends.iter_mut().find(|backend| backend.name == row.name)?;
            backend.health = row.health;
            backend.reason = row.reason;
        }
        Some(snapshot)
    }

    fn offer(&mut self, snapshot: v1::Snapshot) -> Result<(), Vec<String>> {
        let offered = snapshot.version.as_ref().map(parse::version).unwrap_or_default();
        if let Some(current) = self.current.as_ref().and_then(|current| current.version.as_ref()) {
            let current = parse::version(current);
            match current.order(&offered) {
                Order::Same => return Ok(()),
                Order::Foreign if self.trust => {}
                Order::Forward => {}
                Order::Backward => {
                    return Err(vec![format!(
                        "{offered} is older than {current}, which this data plane serves: the control plane's store was \
                         set back; to accept it, stop this data plane and remove {}",
                        self.keeper.path().display()
                    )]);
                }
                Order::Foreign => {
                    return Err(vec![format!(
                        "{offered} is of another store than {current}, which this data plane serves; to accept it, \
                         stop this data plane and remove {}",
                        self.keeper.path().display()
                    )]);
                }
            }
        }
        self.install(snapshot)?;
        tracing::debug!(version = %offered, "serving a new snapshot");
        Ok(())
    }

    fn install(&mut self, snapshot: v1::Snapshot) -> Result<(), Vec<String>> {
        let parsed = self.parser.parse(&snapshot)?;
        self.shared.swap(parsed);
        self.current = Some(snapshot);
        self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        Ok(())
    }

    /// Secrets may have changed behind their names.
    fn reread(&mut self) {
        let backends = self.current.iter().flat_map(|current| &current.backends);
        if backends.into_iter().any(|backend| !backend.credential.is_empty()) {
            self.renew();
        }
    }

    /// Serves by the current snapshot as it is understood now.
    fn renew(&mut self) {
        if let Some(current) = &self.current
            && let Ok(parsed) = self.parser.parse(current)
        {
            self.shared.swap(parsed);
        }
    }

    /// Waits for `work`, and doubts meanwhile when it is time to.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = until(self.doubt_at()) => self.doubt(),
            }
        }
    }

    fn doubt_at(&self) -> Option<Instant> {
        self.lost.filter(|_| !self.parser.doubting).map(|lost| lost + self.doubt_after)
    }

    /// Nobody will say when a server that was down is back: what it was found to be counts no more.
    fn doubt(&mut self) {
        self.parser.doubting = true;
        let rows = self.current.iter().flat_map(|current| &current.backends);
        let down = rows.filter(|row| row.health == v1::Health::Unhealthy as i32);
        let names: Vec<&str> = down.map(|row| row.name.as_str()).collect();
        if !names.is_empty() {
            tracing::warn!(backends = ?names, "the control plane stays away: its bad verdicts count no more");
            self.renew();
        }
    }

    fn load(&self) -> v1::Load {
        let view = self.shared.dispatch.view();
        let snapshot = self.shared.snapshot.load();
        let backends = view
            .backends
            .iter()
            .filter_map(|(id, row)| {
                let name = snapshot.backend(*id)?.name.to_string();
                let in_flight = row.busy + row.cooling;
                Some(v1::BackendLoad {
                    name,
                    in_flight,
                    slots: row.slots,
                    resting: words::resting(&row.breaker),
                })
            })
            .collect();
        v1::Load { queued: u32::try_from(view.waiting).unwrap_or(u32::MAX), backends }
    }
}

async fn connect(control: String, hello: v1::Hello) -> Result<Streams, SessionError> {
    let endpoint = Endpoint::from_shared(control)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_EVERY)
        .keep_alive_while_idle(true);
    let mut client = FollowClient::connect(endpoint).await?.max_decoding_message_size(SNAPSHOT_BYTES_MAX);
    let (up, messages) = mpsc::channel(UP_MAX);
    send(&up, follow_up::Message::Hello(hello)).await?;
    let down = client.follow(ReceiverStream::new(messages)).await?.into_inner();
    Ok((up, down))
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

async fn send(up: &mpsc::Sender<v1::FollowUp>, message: follow_up::Message) -> Result<(), SessionError> {
    up.send(v1::FollowUp { message: Some(message) }).await.map_err(|_| SessionError::Closed)
}

/// In [0, 1): spreads reconnects; nothing depends on its quality.
fn chance() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    f64::from(now.subsec_nanos() % 1_000_000) / 1e6
}
