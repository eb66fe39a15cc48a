//! A backend that comes back is tried by one request at a time.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let crowded = ledger.health().iter().find(|(_, health)| health.crowded);
    ensure(crowded.is_none(), || format!("a second trial: {crowded:?}"))
}
