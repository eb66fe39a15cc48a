//! The data planes: who is registered, who follows, who leads. Takes the time, has no clock.

mod denial;
pub mod registry;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use denial::Denial;
use registry::Row;
pub use registry::{Entry, Hello, PLANES_MAX, Proof, Registry};

/// Another leads when the lead has been gone for this long, where data planes do not share permits: one that is cut off
/// but alive would be a second one meanwhile.
pub const LEAD_GONE_AFTER: Duration = Duration::from_secs(60);
/// The same where they do, which makes it safe: gone, or told to be silent by everyone else.
pub const LEAD_SILENT_AFTER: Duration = Duration::from_secs(10);
/// Data planes that follow at most; more than are registered only while the store takes no writes.
pub const FOLLOWING_MAX: usize = 2 * PLANES_MAX;
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
    /// How it shares slots with others; `None`: it does not say.
    pub sharing: Option<Sharing>,
    /// Of the lead that it is or hears; 0: none.
    pub term: u64,
    /// Requests that it has sent on to other data planes since its start.
    pub forwarded: u64,
}

/// How a data plane shares slots with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// There is no other.
    Alone,
    /// It leads.
    Leads,
    /// It hears the lead.
    Led,
    /// It hears none, and works on with what it holds.
    Leaderless,
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
    /// Slots that it owns there by permits.
    pub permits: u32,
    /// Of these, idle.
    pub parked: u32,
}

/// A data plane that follows, or has followed this process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plane {
    /// What it said of itself.
    pub hello: Hello,
    /// The stream that it follows by; `None`: not connected.
    pub stream: Option<u64>,
    /// The last version that it acknowledged.
    pub acked: Option<Version>,
    /// The last that it has on its disk, as far as it said so by this stream.
    pub kept: Option<Version>,
    /// Why it refused the newest snapshot.
    pub faults: Vec<String>,
    /// Which that was, where it said so.
    pub refused: Option<Version>,
    /// What it refused since it follows and got in another way; may be empty.
    pub mended: String,
    /// Snapshots and deltas that it refused since it follows.
    pub nacks: u32,
    /// Its last report.
    pub load: Option<Load>,
    /// Last heard of, milliseconds since the Unix epoch.
    pub seen_at_ms: u64,
    /// What it said of the lead: the term, and since when that is silent; `None`: it is not.
    pub lead_seen: Option<(u64, Option<Duration>)>,
    /// Last heard of, on the caller's own clock.
    seen: Duration,
}

/// All data planes. Times are since the start of the control plane.
#[derive(Debug, Default)]
pub struct Fleet {
    planes: BTreeMap<String, Plane>,
    registry: Arc<Registry>,
    /// Those whose death is being noted, at most as many as are registered.
    condemned: BTreeSet<String>,
}

impl Fleet {
    /// With what the store remembers; the lead counts as seen at the start.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Fleet { registry, ..Fleet::default() }
    }

    /// The durable part.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The durable part is another now. Those who neither follow nor are registered are forgotten.
    pub fn adopt(&mut self, registry: Arc<Registry>) {
        self.planes.retain(|id, plane| plane.stream.is_some() || registry.rows.contains_key(id));
        self.registry = registry;
    }

    /// What is known of a data plane since the start.
    #[must_use]
    pub fn plane(&self, id: &str) -> Option<&Plane> {
        self.planes.get(id)
    }

    /// All that are registered or follow, in order of id.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let unregistered = self.planes.keys().filter(|id| !self.registry.rows.contains_key(*id));
        let mut ids: Vec<&str> = self.registry.rows.keys().chain(unregistered).map(String::as_str).collect();
        ids.sort_unstable();
        ids.into_iter()
    }

    /// Whether a data plane leads. Of which incarnation is not asked: an earlier one is dead.
    #[must_use]
    pub fn leads(&self, id: &str) -> bool {
        self.registry.lead.as_ref().is_some_and(|lead| lead.plane == id)
    }

    /// Those that follow and are not registered as they are: the store took no writes when they came.
    pub fn unregistered(&self) -> impl Iterator<Item = &Hello> {
        let here = self.planes.values().filter(|plane| plane.stream.is_some());
        here.map(|plane| &plane.hello).filter(|hello| !self.current(hello))
    }

    /// Whether its row is that of this very process.
    fn current(&self, hello: &Hello) -> bool {
        let row = self.registry.rows.get(&hello.plane);
        row.is_some_and(|row| row.incarnation == hello.incarnation && row.process == hello.process)
    }

    /// When those who follow were heard of, at the latest now.
    pub fn seen(&self) -> impl Iterator<Item = (String, u64)> {
        self.planes.iter().map(|(id, plane)| (id.clone(), plane.seen_at_ms))
    }

    /// A data plane follows by a stream; an older stream of it, if there is one, must end.
    pub fn hello(&mut self, now: Duration, now_ms: u64, stream: u64, hello: Hello) -> Option<u64> {
        let plane = self.planes.entry(hello.plane.clone()).or_default();
        let older = plane.stream.replace(stream);
        let same = plane.hello.process == hello.process;
        *plane = Plane {
            hello,
            stream: Some(stream),
            acked: plane.acked.take().filter(|_| same),
            seen_at_ms: now_ms,
            seen: now,
            ..Plane::default()
        };
        older
    }

    /// Whether there is room for one more that follows.
    #[must_use]
    pub fn has_room(&self, id: &str) -> bool {
        self.planes.contains_key(id) || self.planes.len() < FOLLOWING_MAX
    }

    /// Those who were silent for as long as they have acknowledged to count as their death, and no less than `silence`. They
    /// are answered no more: what they were told last is what they go on by.
    pub fn condemn(&mut self, now: Duration, silence: Duration) -> Vec<(String, u64)> {
        let late = |(id, row): &(&String, &Arc<Row>)| {
            // Who was heard of by an earlier process of the control plane was heard of before the start of this one.
            let seen = self.planes.get(*id).map_or(Duration::ZERO, |plane| plane.seen);
            let known = Duration::from_millis(row.silence_ms);
            let late = now.saturating_sub(seen) >= known.max(silence) || self.condemned.contains(*id);
            row.silence_ms > 0 && !row.alone && late
        };
        let late: Vec<(String, u64)> =
            self.registry.living().filter(late).map(|(id, row)| (id.clone(), row.incarnation)).collect();
        self.condemned = late.iter().map(|(id, _)| id.clone()).collect();
        late
    }

    /// It is not dead after all.
    pub fn spare(&mut self, id: &str) {
        self.condemned.remove(id);
    }

    /// Whether it is told that it is heard.
    #[must_use]
    pub fn answers(&self, id: &str) -> bool {
        !self.condemned.contains(id)
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
            (plane.load, plane.lead_seen) = (None, None);
        }
    }

    /// Who should lead, and its incarnation, when it is not who does. Must be made durable before it is told.
    #[must_use]
    pub fn successor(&self, now: Duration) -> Option<(&str, u64)> {
        let lead = self.registry.lead.as_ref();
        let follows = |plane: &&Plane| plane.stream.is_some() && self.current(&plane.hello);
        let rows = self.planes.values().filter(follows).filter_map(|plane| {
            let row = self.registry.rows.get(&plane.hello.plane)?;
            Some((plane.hello.plane.as_str(), row)).filter(|(id, row)| !row.dead() && self.fit(id, row))
        });
        // One that was started again leads again, for the least change.
        let again = |id: &str| lead.is_some_and(|lead| lead.plane == id);
        let others = rows
            .filter(|(id, row)| !again(id) || lead.is_none_or(|lead| lead.incarnation != row.incarnation));
        let (id, row) = others.min_by_key(|(id, row)| (!row.permits, row.draining, !again(id), *id))?;
        (!self.stands(now, row)).then_some((id, row.incarnation))
    }

    /// Whether it may lead as far as others go: who holds permits is led by one that shares them.
    fn fit(&self, id: &str, row: &Row) -> bool {
        row.permits || !self.registry.living().any(|(other, row)| other != id && row.permits)
    }

    /// Whether the lead goes on, though `next` could.
    fn stands(&self, now: Duration, next: &Row) -> bool {
        let Some(lead) = &self.registry.lead else { return false };
        let Some(row) = self.registry.rows.get(&lead.plane) else { return false };
        if row.dead_through >= lead.incarnation {
            return false;
        }
        let plane = self.planes.get(&lead.plane);
        let here = plane.is_some_and(|plane| plane.stream.is_some());
        let seen = plane.map_or(Duration::ZERO, |plane| plane.seen);
        if !row.permits || !next.permits {
            return here || now.saturating_sub(seen) < LEAD_GONE_AFTER;
        }
        if row.draining && !next.draining {
            return false;
        }
        let others =
            || self.planes.values().filter(|other| other.stream.is_some() && !self.leads(&other.hello.plane));
        let said = || others().filter_map(|other| other.lead_seen.filter(|(term, _)| *term == lead.term));
        let late = |since: Duration| now.saturating_sub(since) >= LEAD_SILENT_AFTER;
        let silent = said().filter(|(_, since)| since.is_some_and(late)).count();
        let all = silent > 0 && silent == others().count();
        match here {
            // Of two that do not reach each other neither would lead better.
            true => !all || silent < 2,
            false => !all && (!late(seen) || said().any(|(_, since)| since.is_none())),
        }
    }
}

#[cfg(test)]
mod tests;
