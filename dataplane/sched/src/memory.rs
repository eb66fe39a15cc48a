//! Which models a server has in memory, where it cannot hold all that it serves, and whose turn a load is.

use std::collections::{BTreeMap, BTreeSet};

use crate::queue::{Queue, Ticket};
use crate::room::Room;
use crate::slots::Slots;
use crate::{BackendId, CANDIDATES_MAX, Candidate, ModelId, Moment, Policy, SlotId, Span};

/// The models in a server's memory, and what is done with them.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The one that was used last is at the end; at most as many as it holds.
    resident: Vec<ModelId>,
    /// The models of the slots that are taken or cool.
    used: BTreeMap<SlotId, ModelId>,
    /// What is being loaded for a request that waits for its first token.
    pub(crate) loading: Option<ModelId>,
    /// Since when the last that was loaded is there.
    since: Moment,
    /// Only this one may start: its load is due.
    pub(crate) claimed: Option<ModelId>,
    /// Those that are there and that somebody waits for.
    wanted: BTreeSet<ModelId>,
}

impl Memory {
    pub(crate) fn lacks(&self, model: ModelId) -> bool {
        !self.resident.contains(&model)
    }

    /// Whether a request for `model` may start on a server that holds so many. One that `yields` lets those go first who
    /// wait for what is there; no other keeps a load out that is due.
    pub(crate) fn takes(&self, model: ModelId, most: usize, yields: bool) -> bool {
        if self.claimed.is_some_and(|claimed| claimed != model) {
            return false;
        }
        if !self.lacks(model) {
            return true;
        }
        let used = self.used();
        let spare = || {
            let wanted = |there: &ModelId| yields && self.wanted.contains(there);
            self.resident.iter().any(|there| !used.contains(there) && !wanted(there))
        };
        let due = self.resident.len() < most || self.claimed.is_some() || spare();
        due && self.loading.is_none() && used.len() < most
    }

    fn used(&self) -> BTreeSet<ModelId> {
        self.used.values().copied().collect()
    }

    /// A request for `model` starts in a slot; the answer is whose place in memory it took.
    pub(crate) fn start(
        &mut self,
        slot: SlotId,
        model: ModelId,
        most: usize,
        now: Moment,
    ) -> Option<ModelId> {
        let gone = self.displaces(model, most);
        if self.lacks(model) {
            (self.loading, self.since, self.claimed) = (Some(model), now, None);
        }
        self.resident.retain(|there| *there != model && Some(*there) != gone);
        self.resident.push(model);
        self.used.insert(slot, model);
        gone
    }

    /// Which model goes when `model` is loaded now.
    pub(crate) fn displaces(&self, model: ModelId, most: usize) -> Option<ModelId> {
        if !self.lacks(model) || self.resident.len() < most.max(1) {
            return None;
        }
        let used = self.used();
        let idle = |model: &&ModelId| !used.contains(model);
        let spare = self.resident.iter().find(|model| idle(model) && !self.wanted.contains(model));
        spare.or_else(|| self.resident.iter().find(idle)).or(self.resident.first()).copied()
    }

    /// What was asked of `model` shows that it is there.
    pub(crate) fn loaded(&mut self, model: ModelId) {
        if self.loading == Some(model) {
            self.loading = None;
        }
    }

    /// A load came to nothing: what the server last said it has is there, as far as there is room.
    pub(crate) fn failed(&mut self, model: ModelId, told: &[ModelId], most: usize) {
        self.loaded(model);
        self.resident.retain(|there| *there != model);
        for there in told.iter().filter(|there| **there != model) {
            if self.resident.len() < most && !self.resident.contains(there) {
                self.resident.insert(0, *there);
            }
        }
    }

    /// A slot is free again.
    pub(crate) fn give(&mut self, slot: SlotId) {
        self.used.remove(&slot);
    }

    /// The server says anew what it has in memory; the answer is what it has no more. What is in use stays: it may be on
    /// its way in.
    pub(crate) fn told(&mut self, told: &[ModelId], most: usize, now: Moment) -> Vec<ModelId> {
        let used = self.used();
        let (mut stays, gone): (Vec<_>, Vec<_>) =
            self.resident.iter().partition(|model| told.contains(*model) || used.contains(*model));
        stays.sort_by_key(|model| used.contains(model));
        let new = told.iter().filter(|model| !stays.contains(*model)).copied();
        let mut resident: Vec<ModelId> = new.collect();
        if !resident.is_empty() {
            self.since = now;
        }
        resident.extend(stays);
        resident.drain(..resident.len().saturating_sub(most.max(1)));
        self.resident = resident;
        gone
    }
}

impl Slots {
    /// Whether a start there would load a model that another of a request's candidates is loading just now.
    pub(crate) fn loads_elsewhere(
        &self,
        (backend, model): (BackendId, ModelId),
        room: &Room,
        ticket: &Ticket,
    ) -> bool {
        let loading = |candidate: &Candidate| {
            let other = self.room(candidate.backend).filter(|_| candidate.backend != backend);
            other.is_some_and(|other| other.memory.loading == Some(candidate.model))
        };
        room.loads(model) && ticket.arrival.candidates.iter().take(CANDIDATES_MAX).any(loading)
    }

    /// Says on each server that holds some models at a time whose turn it is. Who waits for what is there goes first; a
    /// model that others wait for is loaded once the last one was there for `collate` times the load, and they waited
    /// for as long. Then nothing else starts there, so that it comes to rest. The answer is when the next turn comes.
    pub(crate) fn collate(&mut self, queue: &Queue, collate: f64, now: Moment) -> Option<Moment> {
        if self.swapping.is_empty() {
            return None;
        }
        for id in &self.swapping {
            if let Some(room) = self.rooms.get_mut(*id) {
                room.memory.claimed = None;
                room.memory.wanted.clear();
            }
        }
        let mut claims = Vec::new();
        for (number, kind) in queue.firsts() {
            let Some(first) = queue.ticket(number) else { continue };
            let reserve = kind.reserve(|id| self.room(id).is_some_and(Room::sure));
            let mut served = false;
            for id in kind.of(reserve) {
                let Some(room) = self.rooms.get_mut(id).filter(|room| room.present && room.able()) else {
                    continue;
                };
                let Some(model) = kind.model(id).filter(|model| !room.loads(*model)) else { continue };
                served = true;
                if room.backend.models_max.is_some() {
                    room.memory.wanted.insert(model);
                }
            }
            if !served {
                claims.push((number, kind, reserve, first.since));
            }
        }
        claims.sort_by_key(|(number, ..)| *number);
        let mut next = None;
        for (_, kind, reserve, since) in claims {
            let turns = kind.of(reserve).filter_map(|id| {
                let memory = &self.rooms.get(id).filter(|room| room.present && room.able())?.memory;
                let model = kind.model(id)?;
                let turn = Span::of_secs(collate * self.known.speeds.load((id, model)));
                let free = memory.claimed.is_none() && memory.loading.is_none();
                free.then_some((since.max(memory.since) + turn, memory.since, id, model))
            });
            let turns: Vec<_> = turns.collect();
            let due =
                turns.iter().filter(|(at, ..)| *at <= now).min_by_key(|(_, since, id, _)| (*since, *id));
            match due {
                Some((_, _, id, model)) => {
                    if let Some(room) = self.rooms.get_mut(*id) {
                        room.memory.claimed = Some(*model);
                    }
                }
                // nobody else is kept from what is idle
                None if kind.policy == Policy::CacheAffine => {
                    next = turns.iter().map(|(at, ..)| *at).chain(next).min();
                }
                None => {}
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ModelId = ModelId(1);
    const B: ModelId = ModelId(2);
    const C: ModelId = ModelId(3);

    #[test]
    fn what_is_in_use_is_not_evicted() {
        let mut memory = Memory::default();
        assert_eq!(memory.start(SlotId(0), A, 2, Moment(1)), None);
        assert!(!memory.takes(B, 2, true), "one load at a time");
        memory.loading = None;
        assert!(memory.takes(B, 2, true) && !memory.takes(B, 1, true) && memory.takes(A, 1, true));
        assert_eq!(memory.start(SlotId(1), B, 2, Moment(2)), None);
        memory.loading = None;
        assert!(!memory.takes(C, 2, true));
        memory.give(SlotId(1));
        assert!(memory.takes(C, 2, true));
        assert_eq!(memory.start(SlotId(1), C, 2, Moment(3)), Some(B));
        assert!(memory.lacks(B) && !memory.lacks(A) && !memory.lacks(C));
    }

    #[test]
    fn who_waits_for_what_is_there_goes_first_until_a_load_is_due() {
        let mut memory = Memory::default();
        memory.start(SlotId(0), A, 1, Moment(1));
        memory.loading = None;
        memory.give(SlotId(0));
        assert!(memory.takes(B, 1, true));
        memory.wanted.insert(A);
        assert!(!memory.takes(B, 1, true) && memory.takes(A, 1, true) && memory.takes(B, 2, true));
        assert!(memory.takes(B, 1, false));
        memory.claimed = Some(B);
        assert!(memory.takes(B, 1, true) && !memory.takes(A, 1, true) && !memory.takes(A, 1, false));
    }

    #[test]
    fn what_was_there_before_a_load_that_failed_is_there() {
        let mut memory = Memory::default();
        memory.told(&[A], 1, Moment(0));
        assert_eq!(memory.start(SlotId(0), B, 1, Moment(1)), Some(A));
        memory.give(SlotId(0));
        memory.failed(B, &[A], 1);
        assert!(memory.lacks(B) && !memory.lacks(A) && memory.loading.is_none());
    }

    #[test]
    fn what_the_server_says_counts_save_for_what_runs() {
        let mut memory = Memory::default();
        memory.start(SlotId(0), A, 3, Moment(1));
        memory.start(SlotId(1), B, 3, Moment(1));
        memory.give(SlotId(1));
        assert_eq!(memory.told(&[C], 3, Moment(2)), [B]);
        assert_eq!(memory.resident, [C, A]);
        assert_eq!(memory.told(&[C, A, B], 1, Moment(2)), []);
        assert_eq!(memory.resident, [A]);
    }
}
