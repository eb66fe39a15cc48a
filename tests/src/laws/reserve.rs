//! What is kept in reserve gets a request only when nothing before it could take that one, busy or not.

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    for started in ledger.started() {
        let (wait, backend) = (&started.wait, started.held.backend);
        let (got, due) = (wait.reserve(backend).unwrap_or_default(), started.reserve);
        ensure(got == due, || {
            format!("{:?} got {backend:?} of reserve {got} for {due}", wait.arrival.ticket)
        })?;
    }
    Ok(())
}
