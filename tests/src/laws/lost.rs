//! No slot is lost: when all is quiet, every slot is back.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, step: &Step) -> Result<(), String> {
    // with nothing running by the ledger's books, what the core still counts is lost
    let backends = step.view.backends.iter();
    let held = backends.clone().find(|(id, view)| {
        let held = (view.busy + view.cooling) as usize;
        held > ledger.busy(**id) + ledger.cooling(**id) || step.quiet && held > 0
    });
    ensure(held.is_none(), || format!("the core still counts {held:?}"))?;
    let left = backends.clone().find(|(_, view)| !view.present && view.busy + view.cooling == 0);
    ensure(left.is_none(), || format!("the core remembers {left:?}"))
}
