//! What the core says of itself is what the ledger knows.

use std::collections::BTreeSet;

use sched::{BackendView, Breaker};

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, step: &Step) -> Result<(), String> {
    let (view, fleet, now) = (step.view, ledger.fleet(), ledger.now());
    let totals = (view.owner, view.closing, view.waiting, view.running);
    let known = (fleet.owner, ledger.closing(), ledger.waiting().len(), ledger.running().len());
    ensure(totals == known, || format!("owner, closing, waiting, running: {totals:?} and not {known:?}"))?;
    let ids: BTreeSet<_> = fleet.backends.keys().chain(view.backends.keys()).copied().collect();
    for id in ids {
        let backend = fleet.backends.get(&id);
        let (busy, cooling) = (ledger.busy(id) as u32, ledger.cooling(id) as u32);
        let streaming = ledger.running().values().filter(|held| held.backend == id && held.streaming);
        let waiting = ledger.waiting().values().filter(|wait| ledger.may(wait, id));
        let said = view.backends.get(&id);
        let expected = BackendView {
            present: backend.is_some(),
            slots: backend.map_or(0, |backend| backend.slots),
            busy,
            cooling,
            streaming: streaming.count() as u32,
            waiting: waiting.count(),
            drained: backend.is_some_and(|backend| backend.draining) && busy + cooling == 0,
            health: ledger.known(id).map(|backend| backend.health).unwrap_or_default(),
            breaker: ledger.health().get(&id).map_or_else(Breaker::default, |health| health.view(now)),
            // an average of the core's own
            service: said.map(|said| said.service).unwrap_or_default(),
            others: 0,
        };
        ensure(said == Some(&expected), || format!("{id:?}: {said:?} and not {expected:?}"))?;
    }
    Ok(())
}
