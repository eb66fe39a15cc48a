//! No more wait than may: who comes while the queue is full does not join it.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let (waiting, max) = (ledger.waiting().len(), ledger.fleet().queue_max);
    // a bound that was lowered sends nobody away who waits
    ensure(waiting <= max.max(ledger.waited()), || format!("{waiting} wait where {max} may"))
}
