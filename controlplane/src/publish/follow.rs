//! The follow service: one bidirectional stream for each data plane.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::stream::unfold;
use proto::v1::{self, FollowDown, FollowUp, follow_server::Follow, follow_up::Message};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::{Joined, Publisher, State, enrol::Enrol};
use crate::{
    fleet::{BackendLoad, FAULTS_MAX, Hello, LOADS_MAX, Load, Plane, Proof, Sharing, Version},
    model::name::NAME_CHARS_MAX,
    probe::watch::unix_ms,
};

/// A data plane says Hello within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Texts of a data plane have at most this many characters.
const TEXT_CHARS_MAX: usize = 400;
/// What one data plane says of others that are dead is looked into for so many at a time.
const CLAIMS_MAX: usize = 16;
/// From one that begins to follow to the next: 250 a second, so that a fleet that comes back at once is met evenly.
const JOIN_EVERY: Duration = Duration::from_millis(4);
/// One that would have to wait longer comes again later.
const JOIN_WITHIN: Duration = Duration::from_secs(2);

/// Serves data planes.
pub struct FollowService {
    publisher: Arc<Publisher>,
    enrol: Enrol,
    /// When the next may begin to follow.
    next: Mutex<Instant>,
}

impl FollowService {
    /// The service on what is published.
    #[must_use]
    pub fn new(publisher: Arc<Publisher>, enrol: Enrol) -> Self {
        FollowService { publisher, enrol, next: Mutex::new(Instant::now()) }
    }
}

type Down = Pin<Box<dyn Stream<Item = Result<FollowDown, Status>> + Send>>;

#[tonic::async_trait]
impl Follow for FollowService {
    type FollowStream = Down;

    async fn follow(&self, request: Request<Streaming<FollowUp>>) -> Result<Response<Down>, Status> {
        let mut up = request.into_inner();
        let first = tokio::time::timeout(HELLO_WITHIN, up.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Hello came in time"))??;
        let Some(Message::Hello(said)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let hello = hello(&said)?;
        self.turn().await?;
        let denied = |denial: crate::fleet::Denial| Status::failed_precondition(denial.to_string());
        self.enrol.hello(&hello).await.map_err(denied)?;
        let (id, incarnation) = (hello.plane.clone(), hello.incarnation);
        let joined = self.publisher.join(hello)?;
        let (stream, ended) = (joined.stream, joined.ended.clone());
        tracing::info!(plane = id, incarnation, stream, "a data plane follows");
        self.ahead(&id, stream, said.have);
        self.enrol.appoint().await;
        self.publisher.greet(stream);
        let (publisher, enrol) = (Arc::clone(&self.publisher), self.enrol.clone());
        let claims = Arc::new(Semaphore::new(CLAIMS_MAX));
        tokio::spawn(async move {
            let mut last_word = None;
            loop {
                let message = tokio::select! {
                    () = ended.cancelled() => break,
                    message = up.next() => message,
                };
                let Some(Ok(FollowUp { message: Some(message) })) = message else { break };
                match message {
                    Message::Bye(bye) => {
                        last_word = Some(bye);
                        break;
                    }
                    Message::Dead(dead) => {
                        // One too many comes to nothing: it is said again when the next connection is refused.
                        if let Ok(claim) = Arc::clone(&claims).try_acquire_owned() {
                            let enrol = enrol.clone();
                            tokio::spawn(async move {
                                enrol
                                    .refused(&cut(&dead.plane_id), dead.incarnation, &cut(&dead.reason))
                                    .await;
                                drop(claim);
                            });
                        }
                    }
                    message => {
                        let ack = matches!(message, Message::Ack(_));
                        if !note(&publisher, &id, stream, message) {
                            break;
                        }
                        if ack {
                            enrol.acked(&id).await;
                        }
                    }
                }
            }
            publisher.leave(&id, stream);
            tracing::info!(plane = id, stream, "a data plane is gone");
            if last_word.is_some_and(|bye| !bye.alone) {
                enrol.dead(&id, incarnation, Proof::Word, "its own word").await;
            }
        });
        Ok(Response::new(down(Arc::clone(&self.publisher), joined)))
    }
}

impl FollowService {
    /// Waits until one more may begin to follow.
    async fn turn(&self) -> Result<(), Status> {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = now.max(*next);
            if turn - now > JOIN_WITHIN {
                return Err(Status::unavailable("too many data planes come at once: come again"));
            }
            *next = turn + JOIN_EVERY;
            turn
        };
        sleep_until(turn).await;
        Ok(())
    }

    /// A data plane that is ahead of this store shows that the store is an old copy.
    fn ahead(&self, id: &str, stream: u64, have: Option<v1::Version>) {
        let Some(have) = have else { return };
        let current = self.publisher.version();
        let publisher = &self.publisher;
        let mut state = publisher.state();
        let Some(plane) = state.fleet.heard(publisher.now(), unix_ms(), id, stream) else { return };
        if have.lineage == current.lineage && have.epoch > current.epoch {
            tracing::error!(
                plane = id,
                have = have.epoch,
                ours = current.epoch,
                "the store is older than it was"
            );
            plane.faults = vec![format!(
                "it serves epoch {}, this control plane is at {}: the store is an old copy",
                have.epoch, current.epoch
            )];
        }
    }
}

/// What a follower is sent, as fast as it takes it.
fn down(publisher: Arc<Publisher>, joined: Joined) -> Down {
    let news = publisher.news.subscribe();
    Box::pin(unfold(Some((publisher, joined, news)), |place| async move {
        let (publisher, joined, mut news) = place?;
        loop {
            news.mark_unchanged();
            match publisher.next(joined.stream) {
                Some(Some(message)) => return Some((Ok(message), Some((publisher, joined, news)))),
                Some(None) => {}
                None if publisher.closed() => return None,
                None => {
                    let why = "another stream of the same data plane took over, or it may not follow";
                    return Some((Err(Status::aborted(why)), None));
                }
            }
            tokio::select! {
                changed = news.changed() => changed.ok()?,
                () = joined.ended.cancelled() => {}
            }
        }
    }))
}

fn hello(said: &v1::Hello) -> Result<Hello, Status> {
    let plain = |c: char| c.is_ascii_graphic();
    let id = &said.plane_id;
    if id.is_empty() || id.len() > NAME_CHARS_MAX || !id.chars().all(plain) {
        return Err(Status::invalid_argument("hello.plane_id: 1 to 63 visible ASCII characters"));
    }
    if said.incarnation == 0 {
        return Err(Status::invalid_argument("hello.incarnation: 0 is not allowed: at least 1"));
    }
    Ok(Hello {
        plane: id.clone(),
        incarnation: said.incarnation,
        process: cut(&said.process),
        serves: cut(&said.serves),
        admin: cut(&said.admin),
        peer: cut(&said.peer),
        software: cut(&said.software_version),
        locked: said.locked,
        term: said.term,
        permits: said.permits,
    })
}

/// False when the stream has been replaced.
fn note(publisher: &Publisher, id: &str, stream: u64, message: Message) -> bool {
    let mut state = publisher.state();
    let now = publisher.now();
    let Some(plane) = state.fleet.heard(now, unix_ms(), id, stream) else { return false };
    match message {
        Message::Ack(ack) => {
            plane.acked = ack.version.map(version);
            if !ack.unkept {
                plane.kept.clone_from(&plane.acked);
            }
            // What it was about to write when it came here says nothing of what it was offered since.
            if plane.refused.as_ref().is_none_or(|refused| since(plane.acked.as_ref(), refused)) {
                plane.faults.clear();
                plane.refused = None;
            }
        }
        Message::Nack(nack) => {
            refuse(plane, id, &nack);
            mend(publisher, &mut state, id, stream, &nack);
        }
        Message::Load(load) => {
            plane.load = Some(loaded(&load));
        }
        Message::Beat(beat) => publisher.beat(&mut state, stream, beat),
        Message::LeadSeen(seen) => {
            let before = plane.lead_seen.filter(|(term, _)| *term == seen.term).and_then(|(_, since)| since);
            plane.lead_seen = Some((seen.term, seen.silent.then(|| before.unwrap_or(now))));
        }
        Message::Hello(_) | Message::Bye(_) | Message::Dead(_) => {}
    }
    true
}

fn loaded(load: &v1::Load) -> Load {
    let one = |backend: &v1::BackendLoad| BackendLoad {
        name: cut(&backend.name),
        in_flight: backend.in_flight,
        slots: backend.slots,
        resting: cut(&backend.resting),
        permits: backend.permits,
        parked: backend.parked,
    };
    Load {
        queued: load.queued,
        backends: load.backends.iter().take(LOADS_MAX).map(one).collect(),
        sharing: match load.sharing() {
            v1::load::Sharing::Unspecified => None,
            v1::load::Sharing::Alone => Some(Sharing::Alone),
            v1::load::Sharing::Leads => Some(Sharing::Leads),
            v1::load::Sharing::Led => Some(Sharing::Led),
            v1::load::Sharing::Leaderless => Some(Sharing::Leaderless),
        },
        term: load.term,
        forwarded: load.forwarded,
    }
}

/// Whether `version` is not older than `refused`.
fn since(version: Option<&Version>, refused: &Version) -> bool {
    version.is_some_and(|version| {
        version.lineage == refused.lineage && (version.epoch, version.seq) >= (refused.epoch, refused.seq)
    })
}

fn refuse(plane: &mut Plane, id: &str, nack: &v1::Nack) {
    plane.refused = nack.version.clone().map(version);
    plane.nacks = plane.nacks.saturating_add(1);
    plane.faults = nack.faults.iter().take(FAULTS_MAX).map(|fault| cut(fault)).collect();
    if plane.faults.is_empty() {
        plane.faults.push("it refused the snapshot without a reason".to_owned());
    }
    tracing::error!(plane = id, faults = ?plane.faults, "a data plane refused a snapshot");
}

/// One that refused a delta gets the whole; that it had to stays to be seen for as long as it follows.
fn mend(publisher: &Publisher, state: &mut State, id: &str, stream: u64, nack: &v1::Nack) {
    let refused = nack.version.as_ref().map(|version| version.seq);
    let whole = state.followers.get(&stream).is_some_and(|follower| Some(follower.whole_at) == refused);
    if let (Some(seq), false) = (refused, whole)
        && let Some(plane) = state.fleet.heard(publisher.now(), unix_ms(), id, stream)
    {
        plane.mended =
            format!("it refused delta {seq} and got the whole snapshot: {}", plane.faults.join("; "));
    }
    publisher.refused(state, stream, refused);
}

fn version(version: v1::Version) -> Version {
    Version { lineage: cut(&version.lineage), epoch: version.epoch, seq: version.seq }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}
