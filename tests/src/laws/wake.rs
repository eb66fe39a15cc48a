//! The core asks to be called for the next deadline or end of a grace or rest, and only for what lies ahead.

use sched::Moment;

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, step: &Step) -> Result<(), String> {
    let deadlines = ledger.waiting().values().map(|wait| wait.arrival.deadline);
    let first = deadlines.chain(ledger.next_change()).min().filter(|moment| *moment != Moment::NEVER);
    // who may decline a free slot is looked at in between
    let chooses = ledger.waiting().values().any(|wait| wait.chooses());
    let next = step.next_wake;
    if chooses && next.is_some_and(|next| next > ledger.now() && first.is_none_or(|first| next <= first)) {
        return Ok(());
    }
    ensure(next == first, || format!("next wake {:?} and not {first:?}", step.next_wake))?;
    ensure(first.is_none_or(|moment| moment > ledger.now()), || format!("{first:?} is past"))
}
