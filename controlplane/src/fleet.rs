//! The registry of data planes: who follows, who holds the slots. Takes the time, has no clock.

use std::{collections::BTreeMap, time::Duration};

/// A spare takes over when the owner has been gone for this long. Stands until permits prove who holds slots:
/// an owner that is cut off but alive would be a second one meanwhile.
pub const OWNER_GONE_AFTER: Duration = Duration::from_secs(60);
/// Data planes that are remembered at most; of the gone ones the longest unseen is forgotten first.
pub const PLANES_MAX: usize = 256;
/// Faults of a nack that are kept at most.
pub const FAULTS_MAX: usize = 32;
/// Backends of a load report that are kept at most.
pub const LOADS_MAX: usize = crate::model::BACKENDS_MAX;

/// The number of a published snapshot within this lineage and epoch, as a data plane tells it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Version {
    /// Of the store.
    pub lineage: String,
    /// Of the start.
    pub epoch: u64,
    /// Of the snapshot.
    pub seq: u64,
}

/// What a data plane does now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Requests that wait.
    pub queued: u32,
    /// At each backend.
    pub backends: Vec<BackendLoad>,
}

/// What a data plane does at one backend.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BackendLoad {
    /// Of the backend.
    pub name: String,
    /// Requests there.
    pub in_flight: u32,
    /// Requests that may be there at once.
    pub slots: u32,
    /// Why the data plane sends it nothing of its own accord; empty when it does.
    pub resting: String,
}

/// A data plane that follows, or has followed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plane {
    /// Drawn at each start of its process.
    pub incarnation: String,
    /// Where it serves clients.
    pub serves: String,
    /// Where it answers for itself.
    pub admin: String,
    /// The stream that it follows by; `None`: not connected.
    pub stream: Option<u64>,
    /// The last version that it acknowledged.
    pub acked: Option<Version>,
    /// Why it refused the newest snapshot.
    pub faults: Vec<String>,
    /// Its last report.
    pub load: Option<Load>,
    /// Last heard of, milliseconds since the Unix epoch.
    pub seen_at_ms: u64,
    /// Last heard of, on the caller's own clock.
    seen: Duration,
}

/// What a data plane says of itself when it begins to follow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hello<'a> {
    /// Drawn at each start of its process.
    pub incarnation: &'a str,
    /// Where it serves clients.
    pub serves: &'a str,
    /// Where it answers for itself.
    pub admin: &'a str,
}

/// All data planes. Times are since the start of the control plane.
#[derive(Debug, Default)]
pub struct Fleet {
    planes: BTreeMap<String, Plane>,
    /// The durable owner; empty: none yet.
    owner: String,
}

impl Fleet {
    /// With the owner that the store remembers; it counts as seen at the start.
    #[must_use]
    pub fn new(owner: &str) -> Self {
        Fleet { planes: BTreeMap::new(), owner: owner.to_owned() }
    }

    /// The data plane that holds the slots; empty: none.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// All planes by id.
    pub fn planes(&self) -> impl Iterator<Item = (&str, &Plane)> {
        self.planes.iter().map(|(id, plane)| (id.as_str(), plane))
    }

    /// A data plane follows by a stream; an older stream of it, if there is one, must end.
    pub fn hello(&mut self, now: Duration, id: &str, stream: u64, hello: Hello<'_>) -> Option<u64> {
        if !self.planes.contains_key(id) && self.planes.len() >= PLANES_MAX {
            let gone = self.planes.iter().filter(|(_, plane)| plane.stream.is_none());
            if let Some(oldest) = gone.min_by_key(|(_, plane)| plane.seen).map(|(id, _)| id.clone()) {
                self.planes.remove(&oldest);
            }
        }
        let plane = self.planes.entry(id.to_owned()).or_default();
        let older = plane.stream.replace(stream);
        plane.incarnation = hello.incarnation.to_owned();
        plane.serves = hello.serves.to_owned();
        plane.admin = hello.admin.to_owned();
        plane.seen = now;
        plane.load = None;
        older
    }

    /// Whether there is room for one more data plane.
    #[must_use]
    pub fn has_room(&self, id: &str) -> bool {
        self.planes.contains_key(id)
            || self.planes.len() < PLANES_MAX
            || self.planes.values().any(|plane| plane.stream.is_none())
    }

    /// Something came from a stream. `None` when the stream is no longer the one of its plane.
    pub fn heard(&mut self, now: Duration, now_ms: u64, id: &str, stream: u64) -> Option<&mut Plane> {
        let plane = self.planes.get_mut(id).filter(|plane| plane.stream == Some(stream))?;
        plane.seen = now;
        plane.seen_at_ms = now_ms;
        Some(plane)
    }

    /// A stream ended.
    pub fn gone(&mut self, now: Duration, id: &str, stream: u64) {
        if let Some(plane) = self.planes.get_mut(id).filter(|plane| plane.stream == Some(stream)) {
            plane.stream = None;
            plane.seen = now;
            plane.load = None;
        }
    }

    /// Who should hold the slots, when it is not who does. Must be made durable before [`Fleet::set_owner`].
    #[must_use]
    pub fn successor(&self, now: Duration) -> Option<&str> {
        if !self.owner.is_empty() {
            let owner = self.planes.get(&self.owner);
            if owner.is_some_and(|plane| plane.stream.is_some()) {
                return None;
            }
            let seen = owner.map_or(Duration::ZERO, |plane| plane.seen);
            if now.saturating_sub(seen) < OWNER_GONE_AFTER {
                return None;
            }
        }
        self.planes.iter().find(|(_, plane)| plane.stream.is_some()).map(|(id, _)| id.as_str())
    }

    /// The owner, durable now.
    pub fn set_owner(&mut self, id: &str) {
        id.clone_into(&mut self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn hello<'a>(incarnation: &'a str, serves: &'a str) -> Hello<'a> {
        Hello { incarnation, serves, admin: "" }
    }

    #[test]
    fn the_first_is_owner_the_second_spare() {
        let mut fleet = Fleet::new("");
        assert_eq!(fleet.successor(s(0)), None);
        fleet.hello(s(0), "a", 1, hello("i", "h:1"));
        assert_eq!(fleet.successor(s(0)), Some("a"));
        fleet.set_owner("a");
        fleet.hello(s(1), "b", 2, hello("i", "h:2"));
        assert_eq!(fleet.successor(s(1000)), None, "the owner is connected");
        fleet.gone(s(1000), "a", 1);
        assert_eq!(fleet.successor(s(1059)), None, "not gone for long enough");
        assert_eq!(fleet.successor(s(1060)), Some("b"));
        fleet.hello(s(1060), "a", 3, hello("i", "h:1"));
        assert_eq!(fleet.successor(s(1060)), None, "it came back in time");
    }

    #[test]
    fn a_restart_gives_the_remembered_owner_its_time() {
        let mut fleet = Fleet::new("a");
        fleet.hello(s(1), "b", 1, hello("i", "h:2"));
        assert_eq!(fleet.successor(s(59)), None);
        assert_eq!(fleet.successor(s(60)), Some("b"));
    }

    #[test]
    fn a_newer_stream_replaces_the_older() {
        let mut fleet = Fleet::new("");
        assert_eq!(fleet.hello(s(0), "a", 1, hello("i", "")), None);
        assert_eq!(fleet.hello(s(1), "a", 2, hello("j", "")), Some(1));
        assert!(fleet.heard(s(2), 2, "a", 1).is_none(), "the old stream says nothing any more");
        fleet.gone(s(2), "a", 1);
        assert!(fleet.heard(s(3), 3, "a", 2).is_some(), "the end of the old stream does not end the new");
    }

    #[test]
    fn bounded() {
        let mut fleet = Fleet::new("");
        for n in 0..PLANES_MAX as u64 {
            fleet.hello(s(n), &format!("p{n}"), n, hello("", ""));
        }
        assert!(!fleet.has_room("new"));
        fleet.gone(s(999), "p7", 7);
        assert!(fleet.has_room("new"));
        fleet.hello(s(999), "new", 1000, hello("", ""));
        assert_eq!(fleet.planes().count(), PLANES_MAX);
        assert!(fleet.planes().all(|(id, _)| id != "p7"));
    }
}
