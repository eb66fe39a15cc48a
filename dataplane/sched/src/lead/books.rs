//! The tickets of all data planes at the lead, under numbers of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::TicketId;
use crate::permit::{Permit, PlaneId, Wants};

use super::DRAWN_FROM;

/// Where a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Waits,
    /// It was started and the permit is on its way: idle at its own data plane, or wanted back from another.
    Bound(Permit),
    /// Its data plane has the permit, or will when the grant arrives.
    Runs(Permit),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) plane: PlaneId,
    pub(super) id: TicketId,
    pub(super) place: Place,
    /// Absent where it started unasked.
    pub(super) wants: Option<Arc<Wants>>,
}

/// At most `OPEN_MAX` that wait, and one for each permit.
#[derive(Debug, Default)]
pub(super) struct Books {
    entries: BTreeMap<TicketId, Entry>,
    numbers: BTreeMap<(PlaneId, TicketId), TicketId>,
    drawn: u64,
}

impl Books {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = TicketId> {
        self.entries.keys().copied()
    }

    pub(super) fn number(&self, plane: PlaneId, id: TicketId) -> Option<TicketId> {
        self.numbers.get(&(plane, id)).copied()
    }

    pub(super) fn get(&self, number: TicketId) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// A new entry. Tickets of the lead's own data plane keep their numbers.
    pub(super) fn add(&mut self, plane: PlaneId, id: TicketId, home: bool, place: Place) -> TicketId {
        let number = match home {
            true => id,
            false => {
                self.drawn += 1;
                TicketId(DRAWN_FROM + self.drawn)
            }
        };
        self.numbers.insert((plane, id), number);
        self.entries.insert(number, Entry { plane, id, place, wants: None });
        number
    }

    pub(super) fn put(&mut self, number: TicketId, place: Place) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.place = place;
        }
    }

    /// What a ticket wants.
    pub(super) fn known(&mut self, number: TicketId, wants: Arc<Wants>) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.wants = Some(wants);
        }
    }

    pub(super) fn remove(&mut self, number: TicketId) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        self.numbers.remove(&(entry.plane, entry.id));
        Some(entry)
    }

    /// All of a data plane, with their numbers.
    pub(super) fn of(&self, plane: PlaneId) -> Vec<(TicketId, Place)> {
        let all = self.numbers.range((plane, TicketId(0))..=(plane, TicketId(u64::MAX)));
        all.filter_map(|(_, number)| Some((*number, self.entries.get(number)?.place))).collect()
    }
}
