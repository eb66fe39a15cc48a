//! Of two keys that both wait without a pause neither gains on the other more than its share: a quantum and two of the
//! longest slot times, by weight, and as much that it may have been behind before.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let shares = ledger.shares();
    let Some(quantum) = ledger.fleet().tuning.fair_quantum else { return Ok(()) };
    if ledger.waiting().values().any(|wait| wait.chooses()) {
        return Ok(());
    }
    // one more for each slot beside the first
    let may = 2.0 * (quantum.secs() + (1 + shares.slots()) as f64 * shares.longest());
    for (keys, gained) in shares.gained() {
        ensure(gained.abs() <= may, || {
            format!("of {keys:?} the first gained {gained:.1} s and may {may:.1} s")
        })?;
    }
    Ok(())
}
