//! What may be asked of the books: who may run where, and what is free.

use std::collections::BTreeMap;

use sched::{Arrival, Backend, BackendId, SlotId};

use super::{Ledger, Wait, up};

impl Ledger {
    /// How many requests run on a backend.
    pub fn busy(&self, backend: BackendId) -> usize {
        self.running.values().filter(|held| held.backend == backend).count()
    }

    /// How many more requests a backend may take now.
    pub fn free(&self, backend: BackendId) -> usize {
        let Some(seen) = self.fleet.backends.get(&backend) else { return 0 };
        let Some(health) = self.health.get(&backend) else { return 0 };
        if up(seen) { health.admits(self.vacant(backend)) } else { 0 }
    }

    fn vacant(&self, backend: BackendId) -> usize {
        let slots = self.fleet.backends.get(&backend).map_or(0, |seen| seen.slots as usize);
        slots.saturating_sub(self.busy(backend) + self.cooling(backend))
    }

    /// The backends of the fleet that a request names.
    pub fn named(&self, arrival: &Arrival) -> BTreeMap<BackendId, &Backend> {
        let ids = arrival.candidates.iter().map(|candidate| candidate.backend);
        ids.filter_map(|id| self.fleet.backends.get(&id).map(|backend| (id, backend))).collect()
    }

    /// Whether a request may run on a backend of the fleet: it names it, was not tried on it, and fits with a
    /// tenth to spare.
    pub fn may(&self, wait: &Wait, backend: BackendId) -> bool {
        let needed = u64::from(wait.arrival.prompt_tokens) * 11;
        let fits = |limit: u32| needed <= u64::from(limit) * 10;
        wait.arrival.candidates.iter().any(|candidate| candidate.backend == backend)
            && !wait.tried.contains(&backend)
            && self.fleet.backends.get(&backend).is_some_and(|seen| seen.max_input_tokens.is_none_or(fits))
    }

    /// The `reserve` that is in force for a request: the lowest of the candidates that could take it, busy or not.
    pub fn reserve(&self, wait: &Wait) -> u8 {
        let sure = |id: BackendId| {
            let admits = self.health.get(&id).is_some_and(|health| health.admits(1) > 0);
            admits && self.fleet.backends.get(&id).is_some_and(up)
        };
        let able = wait.arrival.candidates.iter().filter(|candidate| sure(candidate.backend));
        let able = able.filter(|candidate| self.may(wait, candidate.backend));
        able.map(|candidate| candidate.reserve).min().unwrap_or_default()
    }

    /// Whether a request may run on a backend, which is not kept in reserve for it.
    pub fn goes(&self, wait: &Wait, backend: BackendId) -> bool {
        let reserve = self.reserve(wait);
        self.may(wait, backend) && wait.reserve(backend) == Some(reserve)
    }

    /// The backends that a request may run on.
    pub fn feasible(&self, wait: &Wait) -> BTreeMap<BackendId, &Backend> {
        let mut named = self.named(&wait.arrival);
        named.retain(|id, _| self.may(wait, *id));
        named
    }

    pub(super) fn holders(&self, backend: BackendId) -> impl Iterator<Item = SlotId> {
        let running = self.running.values().map(|held| (held.backend, held.slot));
        let cooling = self.cooling.iter().map(|(id, slot, _)| (*id, *slot));
        running.chain(cooling).filter(move |(id, _)| *id == backend).map(|(_, slot)| slot)
    }

    pub(super) fn better(&self, wait: &Wait, chosen: BackendId) -> Option<BackendId> {
        let feasible = self.feasible(wait);
        let reserve = wait.reserve(chosen);
        let merit = |id: BackendId, backend: &Backend| {
            let share = self.vacant(id) as f64 / f64::from(backend.slots.max(1));
            (backend.priority, share)
        };
        let own = feasible.get(&chosen).map(|backend| merit(chosen, backend))?;
        let better =
            |(id, backend): &(&BackendId, &&Backend)| self.free(**id) > 0 && merit(**id, backend) > own;
        let mut equal = feasible.iter().filter(|(id, _)| wait.reserve(**id) == reserve);
        equal.find(better).map(|(id, _)| *id)
    }
}
