//! Nobody declines a free slot for longer than a part of what that may save, or than `wait_max`.

use sched::{Span, WINDOW};

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

/// Times are rounded.
const ROUNDED: Span = Span::from_millis(1);

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let tuning = &ledger.fleet().tuning;
    // what a slot is kept for, and what a start makes others read again, is not known here
    let known = tuning.hold == 0.0 && tuning.eviction_weight == 0.0;
    if !ledger.fleet().owner || !known || ledger.waiting().len() > WINDOW {
        return Ok(());
    }
    for (ticket, decline) in ledger.declines() {
        let Some(since) = decline.since else { continue };
        let worth = Span((tuning.wait_budget * decline.saves * 1e6) as u64).min(tuning.wait_max);
        let waited = ledger.now().since(since);
        ensure(waited <= worth + ROUNDED, || {
            format!(
                "{ticket:?} has declined a free slot for {waited:?}, and that saves {:.3} s",
                decline.saves
            )
        })?;
    }
    Ok(())
}
