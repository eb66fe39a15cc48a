//! A refusal names its true reason, and a time to come back that is neither too short nor too long.

use sched::{Refusal, Span};

use crate::laws::{Step, ensure};
use crate::ledger::{Ledger, Refused, up};

pub(super) fn holds(ledger: &Ledger, _: &Step) -> Result<(), String> {
    ledger.refused().iter().try_for_each(|refused| ensure(just(ledger, refused), || format!("{refused:?}")))
}

fn just(ledger: &Ledger, refused: &Refused) -> bool {
    let (wait, now) = (&refused.wait, ledger.now());
    let (named, feasible) = (ledger.named(&wait.arrival), ledger.feasible(wait));
    let drains = !feasible.is_empty() && feasible.values().all(|backend| backend.draining);
    let up = feasible.values().any(|backend| up(backend));
    let newcomer = wait.since == now && wait.tried.is_empty();
    let unreached = wait.tried.is_empty() && ledger.failed() == Some(wait.arrival.ticket);
    let unstarted = newcomer || unreached;
    let soon = |span: Span| (Span::from_secs(1)..=Span::from_secs(300)).contains(&span);
    match refused.why {
        Refusal::Spare => !ledger.fleet().owner,
        Refusal::NoCandidate => named.is_empty() && wait.tried.is_empty(),
        Refusal::TooLong { estimate, limit } => {
            let largest = named.values().filter_map(|backend| backend.max_input_tokens).max();
            let right = estimate == wait.arrival.prompt_tokens && Some(limit) == largest;
            feasible.is_empty() && wait.tried.is_empty() && right
        }
        Refusal::Draining => drains && wait.tried.is_empty(),
        Refusal::Unhealthy => !feasible.is_empty() && !drains && !up && newcomer,
        Refusal::Resting { retry_after } => up && unstarted && rests(ledger, refused) && soon(retry_after),
        Refusal::QueueFull { waiting, retry_after } => {
            waiting == refused.others && waiting >= ledger.fleet().queue_max && newcomer && soon(retry_after)
        }
        Refusal::Deadline { retry_after, .. } => wait.arrival.deadline <= now && soon(retry_after),
        Refusal::Exhausted { tried, budget } => {
            // who waits leaves only when nothing is left to wait for
            let waits = ledger.failed() != Some(wait.arrival.ticket);
            let gone = feasible.is_empty() || drains;
            let over = tried == 3 || gone || !waits && (!up || rests(ledger, refused));
            tried > 0 && tried == wait.tried.len() && if budget { refused.spent } else { over }
        }
        Refusal::Closing { retry_after } => ledger.closing() && soon(retry_after),
    }
}

/// Whether all that is up rests, for more than five seconds or past the deadline.
fn rests(ledger: &Ledger, refused: &Refused) -> bool {
    let feasible = ledger.feasible(&refused.wait);
    let up = feasible.iter().filter(|(_, backend)| up(backend));
    let ends = up.map(|(id, _)| ledger.health().get(id).and_then(|health| health.hopes_until()));
    // `None`, one that does not rest, is the least
    let soonest = ends.min().flatten();
    let patience = ledger.now() + Span::from_secs(5);
    soonest.is_some_and(|until| until > patience || until >= refused.wait.arrival.deadline)
}
