//! Follows the control plane: takes snapshots, answers for each, keeps the last good one, and serves on without it.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use proto::v1::{self, follow_client::FollowClient, follow_down, follow_up};
use sched::{Event, Span};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming, transport::Endpoint};

use super::{
    Order, Parser,
    backoff::{Backoff, chance},
    beat::Beats,
    keep::Keeper,
    load::load,
    parse,
};
use crate::{peer::link::Seen, serve::Shared};

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
/// The last word is waited for this long at most.
const BYE_WITHIN: Duration = Duration::from_secs(2);
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
    /// A delta did not fit: others come to nothing until a whole snapshot is there.
    pub gap: bool,
    /// What the control plane is to know of the lead.
    pub seen: Seen,
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
}

impl SessionError {
    /// It may not follow as it is: it is proven dead there, or another process is the same data plane.
    fn denied(&self) -> bool {
        matches!(self, Self::Stream(status) if status.code() == Code::FailedPrecondition)
    }
}

impl Follower {
    /// Follows until `over`, when nothing runs any more: that is its last word.
    pub async fn run(mut self, over: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut told = false;
        loop {
            let began = Instant::now();
            let ended = self.session(&over).await;
            if over.is_cancelled() {
                return;
            }
            let lasted = began.elapsed();
            let denied = ended.as_ref().is_err_and(SessionError::denied);
            if let Err(error) = ended {
                if denied {
                    self.denied(&error);
                } else if told && lasted < KEEPALIVE_EVERY {
                    tracing::debug!(%error, "following again");
                } else {
                    tracing::warn!(%error, "serving on with the last good snapshot");
                    told = true;
                }
            }
            self.lost.get_or_insert_with(Instant::now);
            let rest = tokio::time::sleep(backoff.after(lasted, denied, chance()));
            tokio::select! {
                () = self.meanwhile(rest) => {}
                () = over.cancelled() => return,
            }
        }
    }

    /// Another may lead from now on: what it keeps must not say otherwise when it starts again and nobody tells it so. The
    /// only data plane that there is may go on by itself.
    async fn resign(&mut self) -> v1::Bye {
        let Some(current) = self.current.clone() else { return v1::Bye::default() };
        let others = current.planes.iter().any(|row| row.plane_id != self.hello.plane_id);
        let owner = current.owner && !others;
        let kept = self.keeper.last(v1::Snapshot { owner, ..current }).await;
        v1::Bye { alone: owner || !kept }
    }

    /// Others may have what it held: it starts nothing more.
    fn denied(&mut self, error: &SessionError) {
        if !self.parser.denied {
            tracing::error!(%error, "turned away by the control plane: nothing is started any more");
            self.parser.denied = true;
            self.renew();
        }
    }

    async fn session(&mut self, over: &CancellationToken) -> Result<(), SessionError> {
        let have = self.current.as_ref().and_then(|snapshot| snapshot.version.clone());
        let term =
            self.current.iter().filter_map(|snapshot| snapshot.lead.as_ref()).map(|lead| lead.term).max();
        let hello = v1::Hello { have, term: term.unwrap_or_default(), ..self.hello.clone() };
        let mut beats = Beats::new(Instant::now());
        let connect = self.meanwhile(connect(self.control.clone(), hello));
        let (up, mut down) = tokio::select! {
            connected = connect => connected?,
            () = over.cancelled() => return Ok(()),
        };
        tracing::info!(control = %self.control, "following");
        let mut look = tokio::time::interval(LOAD_EVERY);
        let mut credentials = tokio::time::interval(CREDENTIALS_EVERY);
        let mut said = None;
        self.seen.anew();
        loop {
            tokio::select! {
                biased;
                _ = look.tick() => {
                    let now = load(&self.shared);
                    if said.as_ref() != Some(&now) {
                        send(&up, follow_up::Message::Load(now.clone())).await?;
                        said = Some(now);
                    }
                }
                _ = credentials.tick() => self.reread(),
                () = until(self.doubt_at()) => self.doubt(),
                () = sleep_until(beats.due(self.shared.snapshot.load().planes.silence)) => {
                    send(&up, follow_up::Message::Beat(beats.ask())).await?;
                }
                () = over.cancelled() => {
                    let word = self.resign().await;
                    return bye(&up, &mut down, word).await;
                }
                // What was acknowledged is on the disk.
                (version, kept) = self.keeper.kept() => {
                    send(&up, follow_up::Message::Ack(v1::Ack { version, unkept: !kept })).await?;
                }
                message = self.seen.next() => send(&up, message).await?,
                message = down.message() => {
                    // What a newer control plane says beside this is nothing that must be known.
                    let Some(message) = message?.ok_or(SessionError::Closed)?.message else { continue };
                    let beat = match &message {
                        follow_down::Message::Beat(beat) => Some(beat.number),
                        _ => None,
                    };
                    if let Some(sent) = beats.heard(beat) {
                        self.shared.dispatch.contact(sent);
                    }
                    if let Some(refusal) = self.take(message) {
                        send(&up, follow_up::Message::Nack(refusal)).await?;
                    }
                }
            }
        }
    }

    /// Takes what came down; gives the refusal of it, if it is one.
    fn take(&mut self, message: follow_down::Message) -> Option<v1::Nack> {
        let (version, snapshot) = match message {
            follow_down::Message::Snapshot(snapshot) => {
                self.gap = false;
                (snapshot.version.clone(), Ok(snapshot))
            }
            follow_down::Message::Delta(_) if self.gap => return None,
            follow_down::Message::Delta(delta) => (delta.version.clone(), self.changed(delta)),
            follow_down::Message::EngineLoads(loads) => {
                self.heard(&loads);
                return None;
            }
            follow_down::Message::Beat(_) => return None,
        };
        let before = (self.parser.doubting, self.parser.denied);
        (self.parser.doubting, self.parser.denied) = (false, false);
        let Err(faults) = snapshot.and_then(|snapshot| self.offer(snapshot)) else {
            self.lost = None;
            if before != (false, false) {
                self.renew();
            }
            self.keeper.keep(self.current.clone().expect("it was just taken"));
            return None;
        };
        // What is served is not its word.
        (self.parser.doubting, self.parser.denied) = before;
        self.gap = true;
        self.lost.get_or_insert_with(Instant::now);
        for fault in &faults {
            tracing::error!(fault, "a snapshot is refused; the last good one stays");
        }
        Some(v1::Nack { version, faults })
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

    /// What the delta makes of the current snapshot.
    fn changed(&self, delta: v1::Delta) -> Result<v1::Snapshot, Vec<String>> {
        let current =
            self.current.as_ref().ok_or_else(|| vec!["a delta came before any snapshot".to_owned()])?;
        proto::apply(current, delta).map_err(|fault| vec![fault.to_string()])
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

/// The last word, and the wait until it was taken: the control plane ends the stream then.
async fn bye(
    up: &mpsc::Sender<v1::FollowUp>,
    down: &mut Streaming<v1::FollowDown>,
    word: v1::Bye,
) -> Result<(), SessionError> {
    send(up, follow_up::Message::Bye(word)).await?;
    let ended = async { while let Ok(Some(_)) = down.message().await {} };
    if tokio::time::timeout(BYE_WITHIN, ended).await.is_err() {
        tracing::warn!("the control plane did not take leave in time");
    }
    Ok(())
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
