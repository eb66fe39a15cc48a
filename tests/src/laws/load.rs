//! A server that holds one model at a time loads another only when nothing runs, so no generation is ended by it.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    for started in ledger.started() {
        let backend = started.held.backend;
        if !ledger.fleet().backends.get(&backend).is_some_and(|backend| backend.one_model) {
            continue;
        }
        let model = started.held.model;
        let mut running = ledger.running().values().filter(|held| held.backend == backend);
        let ended = running.find(|held| held.model != model);
        ensure(ended.is_none(), || {
            format!("{:?} loads {model:?} on {backend:?} and ends {ended:?}", started.wait)
        })?;
    }
    Ok(())
}
