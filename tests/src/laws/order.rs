//! Who came first starts first, save where prompts are warm: a start passes over nobody older who may use that slot.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let started = ledger.started().iter().enumerate();
    for (index, started) in started.filter(|(_, started)| !started.wait.chooses()) {
        let (ticket, backend) = (started.wait.arrival.ticket, started.held.backend);
        let waiting = ledger.waiting().range(..ticket).map(|(_, wait)| wait);
        let later = ledger.started()[index..].iter().map(|later| &later.wait);
        let older = later.filter(|later| later.arrival.ticket < ticket);
        let passed = waiting.chain(older).find(|wait| ledger.may(wait, backend));
        ensure(passed.is_none(), || format!("{ticket:?} on {backend:?} passes over {passed:?}"))?;
    }
    Ok(())
}
