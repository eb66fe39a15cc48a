//! Nobody waits past the deadline: the first event at or after it brings the refusal, and none before.

use sched::Refusal;

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    let now = ledger.now();
    let late = ledger.waiting().values().find(|wait| wait.arrival.deadline <= now);
    ensure(late.is_none(), || format!("still waits: {late:?}"))?;
    for started in ledger.started() {
        let waited = started.wait.since < now && ledger.failed() != Some(started.wait.arrival.ticket);
        ensure(!waited || now < started.wait.arrival.deadline, || format!("started too late: {started:?}"))?;
    }
    for refused in ledger.refused() {
        if let Refusal::Deadline { waited, .. } = refused.why {
            let deadline = refused.wait.arrival.deadline;
            let failed = ledger.failed() == Some(refused.wait.arrival.ticket);
            let first = ledger.before() < deadline || refused.wait.since == now || failed;
            ensure(deadline <= now && first && waited == now.since(refused.wait.since), || {
                format!("at {now:?}: {refused:?}")
            })?;
        }
    }
    Ok(())
}
