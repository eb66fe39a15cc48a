//! A server that holds some models at a time loads another only while fewer are in use, so no generation is ended by it;
//! and no two load the same for the same requests at once.

use std::collections::BTreeSet;

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    for started in ledger.started() {
        let (backend, model) = (started.held.backend, started.held.model);
        let most = ledger.fleet().backends.get(&backend).and_then(|backend| backend.models_max);
        let Some(most) = most else { continue };
        let running = || ledger.running().values().filter(|held| held.backend == backend);
        let others: BTreeSet<_> = running().map(|held| held.model).filter(|other| *other != model).collect();
        // what was started before this bound came counts too: only who joins it anew must fit
        let joins = running().filter(|held| held.model == model).count() > 1;
        ensure(joins || others.len() < most as usize, || {
            format!("{:?} loads {model:?} on {backend:?} beside {others:?}", started.wait)
        })?;
        ensure(started.twice.is_none(), || {
            let twice = started.twice;
            format!("{:?} loads {model:?} on {backend:?} while {twice:?} loads it", started.wait)
        })?;
    }
    Ok(())
}
