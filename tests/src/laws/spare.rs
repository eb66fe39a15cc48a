//! A spare, which does not own the slots, starts nothing and keeps nobody waiting.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let idle = ledger.started().is_empty() && ledger.waiting().is_empty();
    ensure(ledger.fleet().owner || idle, || {
        format!("a spare started {:?}, {} wait", ledger.started(), ledger.waiting().len())
    })
}
