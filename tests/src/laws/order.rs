//! Who came first starts first, save where prompts are warm: a start passes over nobody older who may use that slot, or
//! nobody of its key where keys have shares.

use crate::laws::{Step, ensure};
use crate::ledger::{Ledger, Wait};

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let started = ledger.started().iter().enumerate();
    for (index, started) in started.filter(|(_, started)| !started.wait.chooses()) {
        let (ticket, backend) = (started.wait.arrival.ticket, started.held.backend);
        let waiting = ledger.waiting().range(..ticket).map(|(_, wait)| wait);
        let later = ledger.started()[index..].iter().map(|later| &later.wait);
        let older = later.filter(|later| later.arrival.ticket < ticket);
        let shares = ledger.fleet().tuning.fair_quantum.is_some();
        let equal = |wait: &&Wait| !shares || wait.arrival.key == started.wait.arrival.key;
        // what is in reserve for whom changes with each start: see `reserve`
        let plain = |wait: &&Wait| wait.arrival.candidates.iter().all(|candidate| candidate.reserve == 0);
        let mut passed = waiting.chain(older).filter(equal).filter(plain);
        let passed = passed.find(|wait| ledger.may(wait, backend));
        ensure(passed.is_none(), || format!("{ticket:?} on {backend:?} passes over {passed:?}"))?;
    }
    Ok(())
}
