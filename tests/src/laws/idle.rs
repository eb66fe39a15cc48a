//! No slot idles while a ticket that may use it waits, save for one that is placed where its prompt is warm: see `age`.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    if !ledger.fleet().owner {
        return Ok(());
    }
    let free: Vec<_> = ledger.fleet().backends.keys().filter(|id| ledger.free(**id) > 0).collect();
    if free.is_empty() {
        return Ok(());
    }
    for (ticket, wait) in ledger.waiting().iter().filter(|(_, wait)| !wait.chooses()) {
        let idle = free.iter().find(|id| ledger.goes(wait, ***id));
        ensure(idle.is_none(), || format!("{ticket:?} waits and {idle:?} has a free slot"))?;
    }
    Ok(())
}
