//! Who holds which slot: running requests, cooling slots, and backends that left with work on them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Backend, BackendId, Fleet, Moment, Outcome, SLOTS_MAX, SlotId, TicketId};

/// One backend's slots. It outlives the backend's place in the fleet until the last slot is back.
pub(crate) struct Room {
    pub(crate) backend: Backend,
    pub(crate) present: bool,
    pub(crate) busy: u32,
    pub(crate) streaming: u32,
    cooling: BTreeMap<SlotId, Moment>,
    /// Slots that were given back, at most `SLOTS_MAX`.
    back: BTreeSet<SlotId>,
    /// The first slot that was never taken; all from here on are free.
    fresh: u32,
}

impl Room {
    fn new(backend: Backend) -> Room {
        Room {
            backend,
            present: false,
            busy: 0,
            streaming: 0,
            cooling: BTreeMap::new(),
            back: BTreeSet::new(),
            fresh: 0,
        }
    }

    pub(crate) fn slots(&self) -> u32 {
        self.backend.slots.min(SLOTS_MAX)
    }

    pub(crate) fn cooling(&self) -> u32 {
        self.cooling.len() as u32
    }

    pub(crate) fn empty(&self) -> bool {
        self.busy == 0 && self.cooling.is_empty()
    }

    /// How many requests may start on it now.
    pub(crate) fn free(&self) -> u32 {
        match self.present && self.backend.healthy && !self.backend.draining {
            true => self.slots().saturating_sub(self.busy + self.cooling()),
            false => 0,
        }
    }

    /// The lowest free slot: with one free below the limit, it lies below the limit too.
    fn take(&mut self) -> SlotId {
        self.busy += 1;
        self.back.pop_first().unwrap_or_else(|| {
            self.fresh += 1;
            SlotId(self.fresh - 1)
        })
    }

    fn give(&mut self, slot: SlotId) {
        self.back.insert(slot);
    }
}

struct Run {
    backend: BackendId,
    slot: SlotId,
    streaming: bool,
}

/// All slots. Rooms are those of the fleet and those with work; runs and cooling are bounded by the slots.
#[derive(Default)]
pub(crate) struct Slots {
    rooms: BTreeMap<BackendId, Room>,
    runs: BTreeMap<TicketId, Run>,
    cooling: BTreeSet<(Moment, BackendId, SlotId)>,
}

/// What an adopted fleet asks of those who wait.
#[derive(Default)]
pub(crate) struct Change {
    /// Backends came or went, or a limit of input moved: who may run where is to be found anew.
    pub(crate) eligibility: bool,
    /// A backend began to drain.
    pub(crate) draining: bool,
}

impl Slots {
    /// The backend's room while it is in the fleet.
    pub(crate) fn room(&self, backend: BackendId) -> Option<&Room> {
        self.rooms.get(&backend).filter(|room| room.present)
    }

    pub(crate) fn rooms(&self) -> impl Iterator<Item = (BackendId, &Room)> {
        self.rooms.iter().map(|(id, room)| (*id, room))
    }

    pub(crate) fn free(&self, backend: BackendId) -> u32 {
        self.rooms.get(&backend).map_or(0, Room::free)
    }

    pub(crate) fn runs(&self, ticket: TicketId) -> bool {
        self.runs.contains_key(&ticket)
    }

    pub(crate) fn running(&self) -> usize {
        self.runs.len()
    }

    /// When the first cooling slot comes free by itself.
    pub(crate) fn next_cooled(&self) -> Option<Moment> {
        self.cooling.first().map(|(until, _, _)| *until)
    }

    /// Takes a slot of a backend that has one free.
    pub(crate) fn start(&mut self, ticket: TicketId, backend: BackendId) -> SlotId {
        let room = self.rooms.get_mut(&backend).expect("only a backend with a free slot is chosen");
        let slot = room.take();
        self.runs.insert(ticket, Run { backend, slot, streaming: false });
        slot
    }

    pub(crate) fn first_token(&mut self, ticket: TicketId) {
        let Some(run) = self.runs.get_mut(&ticket) else { return };
        if !run.streaming
            && let Some(room) = self.rooms.get_mut(&run.backend)
        {
            run.streaming = true;
            room.streaming += 1;
        }
    }

    /// Ends a request; the answer is its backend when the slot came free now.
    pub(crate) fn finish(&mut self, ticket: TicketId, outcome: Outcome, now: Moment) -> Option<BackendId> {
        let Run { backend, slot, streaming } = self.runs.remove(&ticket)?;
        let room = self.rooms.get_mut(&backend).expect("a room stays while a request runs in it");
        room.busy -= 1;
        room.streaming -= u32::from(streaming);
        let until = match outcome {
            Outcome::Failed | Outcome::Aborted => now + room.backend.release_grace,
            Outcome::Done | Outcome::Unsent => now,
        };
        if until > now {
            room.cooling.insert(slot, until);
            self.cooling.insert((until, backend, slot));
            return None;
        }
        room.give(slot);
        self.leave(backend);
        Some(backend)
    }

    /// Frees the slots whose grace is over; the answer is their backends.
    pub(crate) fn cooled(&mut self, now: Moment) -> BTreeSet<BackendId> {
        let mut freed = BTreeSet::new();
        while let Some(&(until, backend, slot)) = self.cooling.first()
            && until <= now
        {
            self.cooling.pop_first();
            if let Some(room) = self.rooms.get_mut(&backend) {
                room.cooling.remove(&slot);
                room.give(slot);
            }
            self.leave(backend);
            freed.insert(backend);
        }
        freed
    }

    /// Frees all cooling slots of a backend whose engine is known idle; the answer is whether there were any.
    pub(crate) fn idle(&mut self, backend: BackendId) -> bool {
        let Some(room) = self.rooms.get_mut(&backend) else { return false };
        let cooling = std::mem::take(&mut room.cooling);
        for (slot, until) in &cooling {
            self.cooling.remove(&(*until, backend, *slot));
            room.give(*slot);
        }
        self.leave(backend);
        !cooling.is_empty()
    }

    pub(crate) fn adopt(&mut self, fleet: &Fleet) -> Change {
        let mut change = Change::default();
        for (id, room) in &mut self.rooms {
            let stays = fleet.backends.contains_key(id);
            change.eligibility |= room.present && !stays;
            room.present &= stays;
        }
        for (id, backend) in &fleet.backends {
            let room = self.rooms.entry(*id).or_insert_with(|| Room::new(backend.clone()));
            change.eligibility |= !room.present;
            change.eligibility |= room.backend.max_input_tokens != backend.max_input_tokens;
            change.draining |= backend.draining && !room.backend.draining;
            room.present = true;
            room.backend.clone_from(backend);
        }
        self.rooms.retain(|_, room| room.present || !room.empty());
        change
    }

    /// Forgets a backend that left the fleet once its last slot is back.
    fn leave(&mut self, backend: BackendId) {
        if self.rooms.get(&backend).is_some_and(|room| !room.present && room.empty()) {
            self.rooms.remove(&backend);
        }
    }
}
