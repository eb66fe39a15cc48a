//! Rests double from one second to sixty, to four where connections are refused, each a fifth longer or shorter by chance.

use sched::Span;

use crate::laws::{Step, ensure};
use crate::ledger::Ledger;

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    for (id, health) in ledger.health() {
        let Some((due, rest)) = health.opened else { continue };
        let longest = Span(due.0 * 12 / 10).min(Span::from_secs(60));
        ensure((Span(due.0 * 8 / 10)..=longest).contains(&rest), || {
            format!("{id:?} rests for {rest:?} where {due:?} is due")
        })?;
    }
    Ok(())
}
