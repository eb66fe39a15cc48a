//! The current snapshot and those who follow it. Only differences are sent.

pub mod follow;
pub mod load;
mod render;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::v1::FollowDown;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use crate::{
    fleet::{Fleet, Hello, Version},
    model::{Health, Name},
    plan::Picture,
    store::Identity,
};

/// Messages that wait for one follower at most; one that takes no more is dropped, never waited for.
pub const FOLLOWER_WAITING_MAX: usize = 16;

type Down = Result<FollowDown, Status>;

struct Follower {
    plane: String,
    sender: mpsc::Sender<Down>,
    /// The sequence number that it was sent last; 0: none, or it refused.
    at: u64,
    /// It is decided who holds the slots: it may be told.
    greeted: bool,
    /// Ends the task that listens to it.
    _listening: DropGuard,
}

/// A follower as its own stream sees it.
struct Joined {
    stream: u64,
    down: mpsc::Receiver<Down>,
    /// Cancelled when it is a follower no more.
    ended: CancellationToken,
}

struct State {
    seq: u64,
    picture: Option<Picture>,
    plan_faults: Vec<String>,
    followers: BTreeMap<u64, Follower>,
    streams: u64,
    fleet: Fleet,
}

/// Publishes pictures under growing versions.
pub struct Publisher {
    identity: Identity,
    started: Instant,
    state: Mutex<State>,
}

/// What a publication did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// Equal to what is current: nothing was sent.
    Same,
    /// Only health differs.
    Health,
    /// A whole snapshot.
    Whole,
    /// The plan has faults: the last good one stays.
    Refused,
}

impl Publisher {
    /// Nothing is published yet. `owner` is who held the slots.
    #[must_use]
    pub fn new(identity: Identity, owner: &str) -> Self {
        Publisher {
            identity,
            started: Instant::now(),
            state: Mutex::new(State {
                seq: 0,
                picture: None,
                plan_faults: Vec::new(),
                followers: BTreeMap::new(),
                streams: 0,
                fleet: Fleet::new(owner),
            }),
        }
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
        let base = state.seq;
        let change = match &state.picture {
            Some(current) if *current == picture => return Published::Same,
            Some(current) => flips(current, &picture),
            None => None,
        }
        .map(|flips| render::health(&self.identity, base, base + 1, &flips));
        state.seq += 1;
        state.picture = Some(picture);
        self.send(&mut state, |follower| change.as_ref().filter(|_| follower.at == base && base > 0));
        if change.is_some() { Published::Health } else { Published::Whole }
    }

    /// Sends each follower what `small` gives for it, else the whole; those that take no more are dropped.
    fn send<'a>(&self, state: &mut State, small: impl Fn(&Follower) -> Option<&'a FollowDown>) {
        let State { seq, picture: Some(picture), followers, fleet, .. } = state else { return };
        let mut whole: [Option<FollowDown>; 2] = [None, None];
        followers.retain(|_, follower| {
            if !follower.greeted {
                return true;
            }
            let owner = fleet.owner() == follower.plane;
            let message = small(follower).cloned().unwrap_or_else(|| {
                let whole = &mut whole[usize::from(owner)];
                whole.get_or_insert_with(|| render::snapshot(&self.identity, *seq, picture, owner)).clone()
            });
            follower.at = *seq;
            let sent = follower.sender.try_send(Ok(message));
            if sent.is_err() {
                tracing::warn!(plane = follower.plane, "a data plane takes no more messages: dropped");
            }
            sent.is_ok()
        });
    }

    /// Sends all followers what concerns no version. Who takes no more now misses it: the next says it anew.
    fn tell(&self, message: &FollowDown) {
        for follower in self.state().followers.values().filter(|follower| follower.at > 0) {
            // Room is left for what must not be missed.
            if follower.sender.capacity() > FOLLOWER_WAITING_MAX / 2 {
                drop(follower.sender.try_send(Ok(message.clone())));
            }
        }
    }

    /// Lets a follower in. It is sent the whole snapshot as soon as there is one.
    fn join(&self, plane: &str, hello: Hello<'_>) -> Result<Joined, Status> {
        let mut state = self.state();
        if !state.fleet.has_room(plane) {
            return Err(Status::resource_exhausted("too many data planes follow"));
        }
        let (sender, down) = mpsc::channel(FOLLOWER_WAITING_MAX);
        let ended = CancellationToken::new();
        state.streams += 1;
        let stream = state.streams;
        let older = state.fleet.hello(self.now(), plane, stream, hello);
        if let Some(older) = older.and_then(|older| state.followers.remove(&older)) {
            let why = Status::aborted("a newer stream of the same data plane took over");
            // It may take no more; then it just ends.
            drop(older.sender.try_send(Err(why)));
        }
        let (plane, _listening) = (plane.to_owned(), ended.clone().drop_guard());
        state.followers.insert(stream, Follower { plane, sender, at: 0, greeted: false, _listening });
        Ok(Joined { stream, down, ended })
    }

    /// Sends a new follower the whole snapshot, once it is decided who holds the slots.
    fn greet(&self, stream: u64) {
        let mut state = self.state();
        let State { seq, picture, followers, fleet, .. } = &mut *state;
        let Some(follower) = followers.get_mut(&stream) else { return };
        follower.greeted = true;
        let Some(picture) = picture else { return };
        let owner = fleet.owner() == follower.plane;
        follower.at = *seq;
        let message = render::snapshot(&self.identity, *seq, picture, owner);
        if follower.sender.try_send(Ok(message)).is_err() {
            followers.remove(&stream);
        }
    }

    fn leave(&self, plane: &str, stream: u64) {
        let mut state = self.state();
        state.followers.remove(&stream);
        state.fleet.gone(self.now(), plane, stream);
    }

    /// Who should hold the slots now, when it is not who does.
    #[must_use]
    pub fn successor(&self) -> Option<String> {
        self.state().fleet.successor(self.now()).map(str::to_owned)
    }

    /// Tells all who holds the slots; it is durable already. A new version: the snapshots differ.
    pub fn set_owner(&self, plane: &str) {
        let mut state = self.state();
        if state.fleet.owner() == plane {
            return;
        }
        state.fleet.set_owner(plane);
        tracing::info!(plane, "holds the slots now");
        if state.picture.is_some() && state.followers.values().any(|follower| follower.at > 0) {
            state.seq += 1;
            self.send(&mut state, |_| None);
        }
    }

    /// Ends every stream, so that the server can stop.
    pub fn close(&self) {
        self.state().followers.clear();
    }

    /// The current version; sequence number 0: nothing is published yet.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version_at(self.state().seq)
    }

    fn version_at(&self, seq: u64) -> Version {
        Version { lineage: self.identity.lineage.clone(), epoch: self.identity.epoch, seq }
    }

    /// Faults of the newest plan; empty: it is published.
    #[must_use]
    pub fn plan_faults(&self) -> Vec<String> {
        self.state().plan_faults.clone()
    }

    /// Reads the registry of data planes.
    pub fn with_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        read(&self.state().fleet)
    }

    /// Followers that are connected.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.state().followers.len()
    }
}

/// The health that changed, when nothing else did.
fn flips<'a>(current: &Picture, next: &'a Picture) -> Option<Vec<(&'a Name, Health, &'a str)>> {
    let same_names = current.backends.iter().map(|b| &b.name).eq(next.backends.iter().map(|b| &b.name));
    if current.revision != next.revision || current.routes != next.routes || !same_names {
        return None;
    }
    let mut flips = Vec::new();
    for (was, is) in current.backends.iter().zip(&next.backends) {
        if was == is {
            continue;
        }
        let mut aligned = was.clone();
        (aligned.health, aligned.reason) = (is.health, is.reason.clone());
        if aligned != *is {
            return None;
        }
        flips.push((&is.name, is.health, is.reason.as_str()));
    }
    Some(flips)
}

#[cfg(test)]
mod tests;
