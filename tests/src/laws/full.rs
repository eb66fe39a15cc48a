//! No more wait than may: who comes while the queue is full does not join it.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let (waiting, max) = (ledger.waiting().len(), ledger.fleet().queue_max);
    // a bound that was lowered sends nobody away who waits, and who failed comes back whatever the bound
    let back = usize::from(ledger.failed().is_some());
    ensure(waiting <= max.max(ledger.waited() + back), || format!("{waiting} wait where {max} may"))
}
