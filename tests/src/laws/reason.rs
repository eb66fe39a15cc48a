//! A refusal names its true reason.

use sched::Refusal;

use crate::laws::{Step, ensure};
use crate::ledger::{Ledger, Refused};

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    ledger.refused().iter().try_for_each(|refused| ensure(just(ledger, refused), || format!("{refused:?}")))
}

fn just(ledger: &Ledger, refused: &Refused) -> bool {
    let arrival = &refused.wait.arrival;
    let (named, feasible) = (ledger.named(arrival), ledger.feasible(arrival));
    let drains = !feasible.is_empty() && feasible.values().all(|backend| backend.draining);
    let up = feasible.values().any(|backend| backend.healthy && !backend.draining);
    match refused.why {
        Refusal::Spare => !ledger.fleet().owner,
        Refusal::NoCandidate => named.is_empty(),
        Refusal::TooLong { estimate, limit } => {
            let largest = named.values().filter_map(|backend| backend.max_input_tokens).max();
            feasible.is_empty() && estimate == arrival.prompt_tokens && Some(limit) == largest
        }
        Refusal::Draining => drains,
        Refusal::Unhealthy => !feasible.is_empty() && !drains && !up && refused.wait.since == ledger.now(),
        Refusal::QueueFull { waiting, .. } => {
            waiting == refused.others && waiting >= ledger.fleet().queue_max
        }
        Refusal::Deadline { .. } => arrival.deadline <= ledger.now(),
        // nothing fails and nothing closes in these worlds
        Refusal::Resting { .. } | Refusal::Exhausted { .. } | Refusal::Closing { .. } => false,
    }
}
