//! What the core says, as JSON.

use sched::{BackendId, Decision, Refusal, SlotId, Span, TicketId};
use serde::{Deserialize, Serialize};

use super::{backend, slot, span, ticket};

/// A decision as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said(#[serde(with = "DecisionForm")] pub Decision);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Decision", rename_all = "snake_case", deny_unknown_fields)]
enum DecisionForm {
    Start {
        #[serde(with = "ticket")]
        ticket: TicketId,
        candidate: u16,
        #[serde(with = "backend")]
        backend: BackendId,
        #[serde(with = "slot")]
        slot: SlotId,
    },
    Refuse {
        #[serde(with = "ticket")]
        ticket: TicketId,
        #[serde(with = "RefusalForm")]
        why: Refusal,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Refusal", rename_all = "snake_case", deny_unknown_fields)]
enum RefusalForm {
    QueueFull {
        waiting: usize,
        #[serde(with = "span")]
        retry_after: Span,
    },
    Deadline {
        #[serde(with = "span")]
        waited: Span,
        #[serde(with = "span")]
        retry_after: Span,
    },
    TooLong {
        estimate: u32,
        limit: u32,
    },
    NoCandidate,
    Unhealthy,
    Draining,
    Resting {
        #[serde(with = "span")]
        retry_after: Span,
    },
    Exhausted {
        tried: usize,
        budget: bool,
    },
    Spare,
    Closing {
        #[serde(with = "span")]
        retry_after: Span,
    },
}
