//! Retries stay within their budget: a fifth of the starts, two a second, and what was saved up.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    // only a failure spends
    let sound = ledger.failed().is_none() || ledger.purse().sound(ledger.now());
    ensure(sound, || format!("{:?} is one retry too many", ledger.failed()))
}
