//! The permits of a backend as the lead has them: free, or at a data plane and in which state.

use std::collections::{BTreeMap, BTreeSet};

use crate::permit::{Permit, PlaneId};
use crate::{BackendId, Moment, SLOTS_MAX, SlotId, TicketId};

/// What a data plane does with a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It lies idle.
    Parked,
    /// This runs on it, or will when the grant arrives.
    Busy(TicketId),
    /// It is on its way back.
    Due,
}

/// A permit that a data plane has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) plane: PlaneId,
    pub(super) state: State,
    /// Who gets it once it is back, or runs on it at its own data plane.
    pub(super) bound: Option<TicketId>,
    /// It was asked back, and will come.
    pub(super) revoked: bool,
}

impl Spot {
    pub(super) fn new(plane: PlaneId, state: State) -> Self {
        Spot { plane, state, bound: None, revoked: false }
    }
}

/// What a data plane was told of who is next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) next: Vec<Option<TicketId>>,
    pub(super) contended: bool,
}

/// The permits of a backend: at most `SLOTS_MAX`, and those above a limit that fell until they are back.
#[derive(Debug, Default)]
pub(super) struct Stock {
    limit: u32,
    spots: BTreeMap<u32, Spot>,
    free: BTreeSet<u32>,
    /// Those of which nobody has said anything by this term, while somebody who may have them has not reported.
    dark: BTreeSet<u32>,
    /// Idle ones that nobody is to get, by where they are.
    idle: BTreeMap<PlaneId, BTreeSet<u32>>,
    /// How many each data plane has.
    hands: BTreeMap<PlaneId, usize>,
    /// Where a free one was used last, and when it goes there.
    pub(super) last: BTreeMap<u32, (PlaneId, Moment)>,
    pub(super) told: BTreeMap<PlaneId, Told>,
}

impl Stock {
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Changes the limit. While not everyone has reported, who has what comes in new is not known.
    pub(super) fn resize(&mut self, slots: u32, learning: bool) {
        self.limit = slots.min(SLOTS_MAX);
        self.free.retain(|slot| *slot < self.limit);
        self.dark.retain(|slot| *slot < self.limit);
        for slot in 0..self.limit {
            if !self.spots.contains_key(&slot) && !self.free.contains(&slot) {
                self.dark.insert(slot);
            }
        }
        if !learning {
            self.learned();
        }
    }

    /// Everyone has reported: what nobody has is free.
    pub(super) fn learned(&mut self) {
        self.free.append(&mut self.dark);
    }

    pub(super) fn spot(&self, slot: u32) -> Option<&Spot> {
        self.spots.get(&slot)
    }

    /// Changes the state of a permit: `None` makes it free, or is the end of one above the limit.
    pub(super) fn set(&mut self, slot: u32, spot: Option<Spot>) {
        self.free.remove(&slot);
        self.dark.remove(&slot);
        if let Some(old) = self.spots.remove(&slot) {
            if let Some(idle) = self.idle.get_mut(&old.plane) {
                idle.remove(&slot);
            }
            if let Some(count) = self.hands.get_mut(&old.plane) {
                *count -= 1;
            }
        }
        let Some(spot) = spot else {
            if slot < self.limit {
                self.free.insert(slot);
            }
            return self.trim();
        };
        self.spots.insert(slot, spot);
        *self.hands.entry(spot.plane).or_default() += 1;
        if spot.state == State::Parked && spot.bound.is_none() && !spot.revoked && slot < self.limit {
            self.idle.entry(spot.plane).or_default().insert(slot);
        }
        self.trim();
    }

    fn trim(&mut self) {
        self.hands.retain(|_, count| *count > 0);
        self.idle.retain(|_, slots| !slots.is_empty());
    }

    /// One that nobody has.
    pub(super) fn free(&self) -> Option<u32> {
        self.free.first().copied()
    }

    /// One that nobody has, if it is this one.
    pub(super) fn is_free(&self, slot: u32) -> bool {
        self.free.contains(&slot)
    }

    /// One that lies idle there.
    pub(super) fn idle(&self, plane: PlaneId) -> Option<u32> {
        self.idle.get(&plane)?.first().copied()
    }

    /// One that lies idle at a data plane of this kind.
    pub(super) fn idle_where(&self, may: impl Fn(PlaneId) -> bool) -> Option<u32> {
        self.idle.iter().find(|(plane, _)| may(**plane)).and_then(|(_, slots)| slots.first().copied())
    }

    /// The data planes that have any, and how many.
    pub(super) fn hands(&self) -> impl Iterator<Item = (PlaneId, usize)> {
        self.hands.iter().map(|(plane, count)| (*plane, *count))
    }

    /// All that a data plane has.
    pub(super) fn at(&self, plane: PlaneId) -> impl Iterator<Item = u32> {
        self.spots.iter().filter(move |(_, spot)| spot.plane == plane).map(|(slot, _)| *slot)
    }

    /// Those above the limit that a data plane still has.
    pub(super) fn above(&self) -> impl Iterator<Item = (u32, Spot)> {
        self.spots.range(self.limit..).map(|(slot, spot)| (*slot, *spot))
    }

    /// How many take part: not those that lie idle, or nobody knows how, where nobody can be asked, nor those of which
    /// nothing is known.
    pub(super) fn usable(&self, reached: impl Fn(PlaneId) -> bool) -> u32 {
        let lost = |(_, spot): &(&u32, &Spot)| !matches!(spot.state, State::Busy(_)) && !reached(spot.plane);
        self.limit - (self.spots.range(..self.limit).filter(lost).count() + self.dark.len()) as u32
    }

    /// All of them, by who has them.
    pub(super) fn all(&self, backend: BackendId) -> impl Iterator<Item = (Permit, Option<PlaneId>)> {
        let permit = move |slot: u32| Permit { backend, slot: SlotId(slot) };
        let held = self.spots.iter().map(move |(slot, spot)| (permit(*slot), Some(spot.plane)));
        held.chain(self.free.iter().map(move |slot| (permit(*slot), None)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.limit == 0 && self.spots.is_empty()
    }
}
