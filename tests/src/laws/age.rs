//! Who has waited for `age_max` takes what is free, warm or not.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    if !ledger.fleet().owner {
        return Ok(());
    }
    let age_max = ledger.fleet().tuning.age_max;
    let backends = ledger
        .fleet()
        .backends
        .iter()
        .filter(|(id, backend)| backend.models_max.is_none() && ledger.free(**id) > 0);
    let free: Vec<_> = backends.map(|(id, _)| id).collect();
    let chooses = ledger.waiting().iter().filter(|(_, wait)| wait.chooses());
    for (ticket, wait) in chooses.filter(|(_, wait)| ledger.now().since(wait.since) >= age_max) {
        let idle = free.iter().find(|id| ledger.goes(wait, ***id));
        ensure(idle.is_none(), || format!("{ticket:?} is old, waits, and {idle:?} has a free slot"))?;
    }
    Ok(())
}
