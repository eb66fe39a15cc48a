//! The current snapshot and those who follow it. Only differences are sent, and nobody is waited for: each follower has a
//! place in what was published, and takes the next of it when its stream has room.

mod contact;
pub mod enrol;
pub mod follow;
pub mod load;
mod log;
mod render;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::v1::{self, FollowDown, follow_down::Message};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use crate::{
    fleet::{Fleet, Hello, Registry, Version},
    plan::Picture,
    probe::watch::unix_ms,
    store::Identity,
};
use log::Log;

/// What a snapshot shows.
#[derive(Clone, PartialEq, Debug, Default)]
struct Shown {
    picture: Picture,
    lead: Option<v1::Lead>,
    planes: Arc<BTreeMap<String, v1::Registered>>,
}

struct Follower {
    plane: String,
    /// The sequence number that it was sent last; 0: it gets the whole.
    at: u64,
    /// That of the whole snapshot that it was sent last.
    whole_at: u64,
    /// It refused the whole snapshot of this number: there is no use in sending it again.
    refused: u64,
    /// What it was told last of the load of servers.
    loads_at: u64,
    /// It is decided who leads: it may be told.
    greeted: bool,
    /// What it asks to be told again.
    beat: Option<v1::Beat>,
    /// Ends its stream and the task that listens to it.
    _listening: DropGuard,
}

/// A follower as its own stream sees it.
struct Joined {
    stream: u64,
    /// Cancelled when it is a follower no more.
    ended: CancellationToken,
}

/// What a follower gets next. Large ones are shared until they are sent.
enum Next {
    Whole(Arc<v1::Snapshot>, bool),
    Delta(Arc<v1::Delta>, bool),
    Loads(Arc<v1::EngineLoads>),
}

struct State {
    seq: u64,
    /// Every snapshot from this one on names two or more data planes; `None`: the newest does not.
    together: Option<u64>,
    shown: Option<Shown>,
    /// The whole snapshot of `seq`, once somebody wanted it.
    whole: Option<Arc<v1::Snapshot>>,
    log: Log,
    loads: Arc<v1::EngineLoads>,
    loads_seq: u64,
    plan_faults: Vec<String>,
    followers: BTreeMap<u64, Follower>,
    streams: u64,
    closed: bool,
    fleet: Fleet,
}

/// Publishes pictures under growing versions.
pub struct Publisher {
    identity: Identity,
    started: Instant,
    /// Silence of a data plane for so long counts as its death; zero: it never does.
    silence: Duration,
    state: Mutex<State>,
    /// Wakes the streams of followers.
    news: watch::Sender<()>,
}

/// What a publication did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// Equal to what is current: nothing is sent.
    Same,
    /// Those who are up to date get what differs.
    Delta,
    /// All get the whole snapshot.
    Whole,
    /// The plan has faults: the last good one stays.
    Refused,
}

impl Publisher {
    /// Nothing is published yet.
    #[must_use]
    pub fn new(identity: Identity, registry: Arc<Registry>) -> Self {
        Publisher {
            identity,
            started: Instant::now(),
            silence: Duration::ZERO,
            state: Mutex::new(State {
                seq: 0,
                together: None,
                shown: None,
                whole: None,
                log: Log::default(),
                loads: Arc::default(),
                loads_seq: 0,
                plan_faults: Vec::new(),
                followers: BTreeMap::new(),
                streams: 0,
                closed: false,
                fleet: Fleet::new(registry),
            }),
            news: watch::Sender::new(()),
        }
    }

    /// Silence of a data plane for so long counts as its death from now on.
    #[must_use]
    pub fn reclaiming(self, silence: Option<Duration>) -> Self {
        Publisher { silence: silence.unwrap_or_default(), ..self }
    }

    fn silence_ms(&self) -> u64 {
        u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Publishes a picture if it is sound and different.
    pub fn publish(&self, picture: Picture, faults: Vec<String>) -> Published {
        let mut state = self.state();
        state.plan_faults = faults;
        if !state.plan_faults.is_empty() {
            return Published::Refused;
        }
        let (lead, planes) = match &state.shown {
            Some(shown) => (shown.lead.clone(), Arc::clone(&shown.planes)),
            None => roster(state.fleet.registry()),
        };
        self.show(&mut state, Shown { picture, lead, planes })
    }

    /// The registry, durable, is another now: a new version where data planes see a difference. `registry` is asked while
    /// nobody else can be, so that an older one never takes the place of a newer.
    pub fn adopt(&self, registry: impl FnOnce() -> Arc<Registry>) {
        let mut state = self.state();
        let registry = registry();
        let (lead, planes) = roster(&registry);
        if registry.lead != state.fleet.registry().lead
            && let Some(lead) = &registry.lead
        {
            tracing::info!(plane = lead.plane, incarnation = lead.incarnation, term = lead.term, "leads now");
        }
        state.fleet.adopt(registry);
        if let Some(shown) = &state.shown {
            let picture = shown.picture.clone();
            self.show(&mut state, Shown { picture, lead, planes });
        }
    }

    fn show(&self, state: &mut State, next: Shown) -> Published {
        let did = match &state.shown {
            Some(shown) if *shown == next => return Published::Same,
            Some(shown) => match render::delta(&self.identity, state.seq, shown, &next) {
                Some(delta) => {
                    state.log.push(state.seq + 1, delta);
                    Published::Delta
                }
                None => {
                    state.log.clear();
                    Published::Whole
                }
            },
            None => Published::Whole,
        };
        state.seq += 1;
        state.together = if next.planes.len() > 1 { state.together.or(Some(state.seq)) } else { None };
        (state.shown, state.whole) = (Some(next), None);
        self.news.send_replace(());
        did
    }

    /// Tells all followers what concerns no version. Who takes no more now misses it: the next says it anew.
    fn tell(&self, loads: v1::EngineLoads) {
        let mut state = self.state();
        state.loads = Arc::new(loads);
        state.loads_seq += 1;
        self.news.send_replace(());
    }

    /// What a follower gets next; the outer `None`: it is no follower any more, the inner: nothing now.
    fn next(&self, stream: u64) -> Option<Option<FollowDown>> {
        let next = {
            let mut state = self.state();
            let State { seq, shown, whole, log, loads, loads_seq, followers, fleet, .. } = &mut *state;
            let follower = followers.get_mut(&stream)?;
            if let Some(beat) = follower.beat.take() {
                return Some(Some(FollowDown { message: Some(Message::Beat(beat)) }));
            }
            let Some(shown) = shown.as_ref().filter(|_| follower.greeted && follower.refused != *seq) else {
                return Some(None);
            };
            let works = fleet.registry().works(&follower.plane);
            let delta = log.after(follower.at).filter(|_| follower.at > 0);
            match delta {
                Some((to, delta)) => {
                    follower.at = to;
                    Next::Delta(Arc::clone(delta), works)
                }
                None if follower.at < *seq => {
                    (follower.at, follower.whole_at) = (*seq, *seq);
                    let render =
                        || Arc::new(render::snapshot(&self.identity, *seq, shown, self.silence_ms()));
                    Next::Whole(Arc::clone(whole.get_or_insert_with(render)), works)
                }
                None if follower.loads_at < *loads_seq => {
                    follower.loads_at = *loads_seq;
                    Next::Loads(Arc::clone(loads))
                }
                None => return Some(None),
            }
        };
        // Copied while nobody waits for the lock.
        let message = match next {
            Next::Whole(whole, owner) => {
                Message::Snapshot(v1::Snapshot { owner, ..v1::Snapshot::clone(&whole) })
            }
            Next::Delta(delta, owner) => {
                let owner = owner && delta.lead.is_some();
                Message::Delta(v1::Delta { owner, ..v1::Delta::clone(&delta) })
            }
            Next::Loads(loads) => Message::EngineLoads(v1::EngineLoads::clone(&loads)),
        };
        Some(Some(FollowDown { message: Some(message) }))
    }

    /// Lets a follower in. It is sent nothing until it is greeted.
    fn join(&self, hello: Hello) -> Result<Joined, Status> {
        let mut state = self.state();
        if !state.fleet.has_room(&hello.plane) {
            return Err(Status::resource_exhausted("too many data planes follow"));
        }
        let ended = CancellationToken::new();
        state.streams += 1;
        let (stream, plane) = (state.streams, hello.plane.clone());
        if let Some(older) = state.fleet.hello(self.now(), unix_ms(), stream, hello) {
            state.followers.remove(&older);
        }
        let _listening = ended.clone().drop_guard();
        let loads_at = state.loads_seq;
        let follower = Follower {
            plane,
            at: 0,
            whole_at: 0,
            refused: 0,
            loads_at,
            greeted: false,
            beat: None,
            _listening,
        };
        state.followers.insert(stream, follower);
        Ok(Joined { stream, ended })
    }

    /// A new follower may be sent what there is, once it is decided who leads.
    fn greet(&self, stream: u64) {
        if let Some(follower) = self.state().followers.get_mut(&stream) {
            follower.greeted = true;
        }
        self.news.send_replace(());
    }

    /// It refused what it was sent: the whole is next, or, if that is what it refused, whatever comes after it.
    fn refused(&self, state: &mut State, stream: u64, refused: Option<u64>) {
        let seq = state.seq;
        let Some(follower) = state.followers.get_mut(&stream) else { return };
        // What was on its way when the whole was sent is of no account.
        let refused = refused.unwrap_or(seq);
        if refused < follower.whole_at {
            return;
        }
        if refused == follower.whole_at {
            follower.refused = refused;
        }
        follower.at = 0;
        self.news.send_replace(());
    }

    /// It may follow no more.
    fn expel(&self, plane: &str) {
        self.state().followers.retain(|_, follower| follower.plane != plane);
    }

    fn leave(&self, plane: &str, stream: u64) {
        let mut state = self.state();
        state.followers.remove(&stream);
        state.fleet.gone(self.now(), plane, stream);
    }

    /// Who should lead now, and its incarnation, when it is not who does; and the term until now.
    #[must_use]
    fn successor(&self) -> Option<(String, u64, u64)> {
        let state = self.state();
        let (plane, incarnation) = state.fleet.successor(self.now())?;
        Some((plane.to_owned(), incarnation, state.fleet.registry().term))
    }

    /// Ends every stream, so that the server can stop.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.followers.clear();
    }

    fn closed(&self) -> bool {
        self.state().closed
    }

    /// The current version; sequence number 0: nothing is published yet.
    #[must_use]
    pub fn version(&self) -> Version {
        let seq = self.state().seq;
        Version { lineage: self.identity.lineage.clone(), epoch: self.identity.epoch, seq }
    }

    /// Faults of the newest plan; empty: it is published.
    #[must_use]
    pub fn plan_faults(&self) -> Vec<String> {
        self.state().plan_faults.clone()
    }

    /// Reads what is known of data planes.
    pub fn with_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        read(&self.state().fleet)
    }

    /// Followers that are connected.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.state().followers.len()
    }
}

/// What data planes are told of the registry.
fn roster(registry: &Registry) -> (Option<v1::Lead>, Arc<BTreeMap<String, v1::Registered>>) {
    (render::lead(registry), Arc::new(render::planes(registry)))
}

#[cfg(test)]
mod tests;
