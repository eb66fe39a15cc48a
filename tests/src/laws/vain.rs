//! Nobody waits in vain: some backend of the fleet fits, and it does not drain.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let open = ledger.fleet().backends.iter().filter(|(_, backend)| !backend.draining);
    let vain = ledger.waiting().values().find(|wait| !open.clone().any(|(id, _)| ledger.may(wait, *id)));
    ensure(vain.is_none(), || format!("nothing will ever take {vain:?}"))
}
