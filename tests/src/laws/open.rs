//! An open breaker starts nothing, and neither does a server that asked to be left alone.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    for started in ledger.started() {
        let backend = started.held.backend;
        let rests = ledger.health().get(&backend).and_then(|health| health.rests_until());
        ensure(rests.is_none(), || format!("{started:?} while {backend:?} rests until {rests:?}"))?;
    }
    Ok(())
}
