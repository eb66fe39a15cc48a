//! A ticket is answered exactly once: started, refused, or cancelled while it waits.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, step: &Step) -> Result<(), String> {
    ensure(ledger.strangers().is_empty(), || format!("{:?} were not waiting", ledger.strangers()))?;
    if step.quiet {
        let odd = ledger.answers().iter().find(|(_, answers)| **answers != 1);
        ensure(odd.is_none(), || format!("ticket and answers at the end: {odd:?}"))?;
    }
    Ok(())
}
