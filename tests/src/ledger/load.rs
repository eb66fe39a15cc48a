//! Which model each server that holds one at a time has, and which it is loading.

use std::collections::BTreeMap;

use sched::{BackendId, ModelId};

use super::{Ledger, Wait};

/// By backend.
#[derive(Default)]
pub(super) struct Loads {
    resident: BTreeMap<BackendId, ModelId>,
    loading: BTreeMap<BackendId, ModelId>,
}

impl Loads {
    /// Its first token is there, or nobody waits for one any more.
    pub(super) fn end(&mut self, backend: BackendId) {
        self.loading.remove(&backend);
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&BackendId) -> bool) {
        self.resident.retain(|id, _| stays(id));
        self.loading.retain(|id, _| stays(id));
    }
}

impl Ledger {
    /// A request starts on a backend. The answer is another of its candidates that was loading the same model when this
    /// one begins to.
    pub(super) fn load(&mut self, backend: BackendId, wait: &Wait) -> Option<BackendId> {
        let seen = self.fleet.backends.get(&backend)?;
        let model = wait.model(backend)?;
        if seen.models_max != Some(1) || self.loads.resident.get(&backend) == Some(&model) {
            return None;
        }
        let loading = |other: &BackendId| {
            let named = wait.model(*other).filter(|_| self.fleet.backends.contains_key(other));
            *other != backend && named.is_some() && self.loads.loading.get(other) == named.as_ref()
        };
        let ids = wait.arrival.candidates.iter().map(|candidate| candidate.backend);
        let twice = ids.into_iter().find(loading);
        self.loads.resident.insert(backend, model);
        self.loads.loading.insert(backend, model);
        twice
    }
}
