//! A start takes the best free backend: higher priority, then the larger share of free slots; or the one where its
//! prompt is warm.

use crate::laws::{Step, ensure};
use crate::ledger::{Ledger, up};

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    for started in ledger.started() {
        let (ticket, backend) = (started.wait.arrival.ticket, started.held.backend);
        let fits = ledger.feasible(&started.wait).get(&backend).copied();
        ensure(fits.is_some_and(up), || format!("{ticket:?} may not run on {backend:?}"))?;
        ensure(started.better.is_none() || started.wait.chooses(), || {
            format!("{ticket:?} got {backend:?} and {:?} was better", started.better)
        })?;
    }
    Ok(())
}
