//! Nobody is tried twice on the same backend, nor more often than three times.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    ledger.started().iter().try_for_each(|started| {
        let tried = &started.wait.tried;
        ensure(tried.len() < 3 && !tried.contains(&started.held.backend), || format!("{started:?}"))
    })
}
