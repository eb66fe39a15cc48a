//! The dispatcher as the one who plays both ends of the permit protocol: joined to others, and told by their streams.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use sched::{
    BackendId, Moment,
    lead::StreamId,
    owner,
    permit::{Down, Member, Up},
};
use tokio::sync::watch;

use super::{Core, Dispatch, Said, seat::Seat, sharing::Sharing};
use crate::{
    config::Snapshot,
    peer::{Ends, Links, Outbox},
};

impl Core {
    /// Shares slots from the first snapshot on that says so.
    pub(super) fn sit(&mut self, now: Moment, snapshot: &Snapshot) {
        let Seat::Alone(alone) = &mut self.seat else { return };
        let (Some(links), Some(own)) = (&self.links, snapshot.planes.own) else { return };
        if !snapshot.shared {
            return;
        }
        if let Some(tape) = alone.untape() {
            tracing::warn!("the tape ends here: slots are shared with other data planes from now on");
            drop(tape);
        }
        let sharing = Sharing::from_alone(now, own, &mut alone.scheduler, links.clone());
        self.seat = Seat::Shared(Box::new(sharing));
    }
}

/// How a data plane has its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All are its own, or none while another has all.
    Alone,
    /// It decides for all data planes who runs next.
    Leads,
    /// It has told the lead what it holds, and hears it.
    Led,
    /// It hears no lead, and works on with what it holds.
    Leaderless,
}

/// How a data plane has its slots, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In short.
    pub role: Role,
    /// Of the lead that it is or heard of last; 0: none.
    pub term: u64,
    /// How many permits it holds of each backend, and how many of them lie idle; none while it is alone.
    pub permits: BTreeMap<BackendId, (u32, u32)>,
}

impl Dispatch {
    /// How it shares slots with others now.
    pub fn standing(&self) -> Standing {
        match &self.core().seat {
            Seat::Alone(_) => Standing { role: Role::Alone, term: 0, permits: BTreeMap::new() },
            Seat::Shared(sharing) => sharing.standing(),
        }
    }

    /// Those that live as far as is proven, and do not follow this data plane though it leads. None where it does not.
    pub fn absent(&self) -> Vec<Member> {
        match &self.core().seat {
            Seat::Alone(_) => Vec::new(),
            Seat::Shared(sharing) => sharing.absent(),
        }
    }

    /// The control plane answered what it was told at this time: silence is no death until later.
    pub fn contact(&self, sent: Instant) {
        let sent =
            Moment(u64::try_from(sent.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX));
        self.stream(|sharing| sharing.tell(owner::Event::Contact { sent }));
    }

    /// Slots are shared with other data planes once a snapshot says so, as `current` may: the one that is served by.
    pub fn join(&self, links: Arc<dyn Links>, current: &Snapshot) {
        self.core().links = Some(links);
        self.adopt(current, || {});
    }

    /// What the snapshot says of the data planes.
    pub(super) fn picture(&self, core: &mut Core, now: Moment, snapshot: &Snapshot) {
        self.share(core, now, |sharing, said| {
            if snapshot.denied {
                sharing.tell(owner::Event::Fenced);
            }
            sharing.picture(now, &snapshot.planes, said);
        });
    }

    /// Does something with what is shared, and all that follows from it.
    fn share<T>(
        &self,
        core: &mut Core,
        now: Moment,
        what: impl FnOnce(&mut Sharing, &mut Vec<Said>) -> T,
    ) -> Option<T> {
        let Seat::Shared(sharing) = &mut core.seat else { return None };
        let mut said = std::mem::take(&mut core.said);
        let done = what(sharing, &mut said);
        sharing.run(now, &mut said);
        self.pass_on(core, now, said, None);
        Some(done)
    }

    fn stream<T>(&self, what: impl FnOnce(&mut Sharing) -> T) -> Option<T> {
        let mut core = self.core();
        let now = self.now();
        self.share(&mut core, now, |sharing, _| what(sharing))
    }

    /// Changes each time that all that runs is to end at once, for this data plane counts as dead.
    pub fn aborts(&self) -> watch::Receiver<u64> {
        self.aborts.subscribe()
    }
}

impl Ends for Dispatch {
    fn connected(&self, attempt: u64, out: Outbox<Up>) {
        self.stream(|sharing| sharing.connected(attempt, out));
    }

    fn lost(&self, attempt: u64) {
        self.stream(|sharing| sharing.lost(attempt));
    }

    fn heard(&self, attempt: u64, message: Down) {
        self.stream(|sharing| sharing.heard(attempt, message));
    }

    fn joined(&self, out: Outbox<Down>) -> Option<StreamId> {
        self.stream(|sharing| sharing.joined(out)).flatten()
    }

    fn told(&self, stream: StreamId, message: Up) {
        self.stream(|sharing| sharing.told(stream, message));
    }

    fn left(&self, stream: StreamId) {
        self.stream(|sharing| sharing.left(stream));
    }
}
