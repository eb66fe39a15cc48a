//! A core that closes starts nothing and keeps nobody waiting.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let idle = ledger.started().is_empty() && ledger.waiting().is_empty();
    ensure(!ledger.closing() || idle, || {
        format!("closing, and started {:?}, {} wait", ledger.started(), ledger.waiting().len())
    })
}
