//! Never a start above a backend's slots, counted until the engine has really stopped.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, step: &Step) -> Result<(), String> {
    for started in ledger.started() {
        let (ticket, held) = (started.wait.arrival.ticket, &started.held);
        let slots = ledger.fleet().backends.get(&held.backend).map_or(0, |backend| backend.slots);
        let working = (step.working)(held.backend);
        ensure(working <= slots as usize, || {
            format!("{ticket:?} makes {working} on {:?} with {slots} slots", held.backend)
        })?;
        ensure(held.slot.0 < slots && !started.taken, || {
            format!("{ticket:?} got {:?} of {:?} with {slots} slots", held.slot, held.backend)
        })?;
    }
    Ok(())
}
