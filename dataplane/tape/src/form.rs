//! What the core is told and what it says, as JSON: every field by name, so that a new one is never forgotten.

mod said;

use std::sync::Arc;

pub use said::Said;
use sched::{
    Arrival, Asked, Backend, BackendId, Block, Cache, Candidate, Chain, Class, Digest, End, Event, Fault,
    Fleet, Health, Key, Mark, ModelId, Moment, Outcome, Policy, SlotId, Span, TicketId, Tuning, Usage,
};
use serde::{Deserialize, Serialize};

/// A module that writes a type as another one.
macro_rules! written {
    ($name:ident: $type:ty as $plain:ty, $to:expr, $from:expr) => {
        mod $name {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            use super::*;

            pub fn serialize<S: Serializer>(value: &$type, to: S) -> Result<S::Ok, S::Error> {
                let to_plain: fn(&$type) -> $plain = $to;
                to_plain(value).serialize(to)
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                let from_plain: fn($plain) -> $type = $from;
                <$plain>::deserialize(from).map(from_plain)
            }
        }
    };
}

written!(asked: Asked as u64, |asked| asked.0, Asked);
written!(ticket: TicketId as u64, |id| id.0, TicketId);
written!(key: Key as u64, |key| key.0, Key);
written!(backend: BackendId as u32, |id| id.0, BackendId);
written!(slot: SlotId as u32, |id| id.0, SlotId);
written!(moment: Moment as u64, |moment| moment.0, Moment);
written!(span: Span as u64, |span| span.0, Span);
written!(maybe: Option<Span> as Option<u64>, |span| span.map(|span| span.0), |span| span.map(Span));
written!(
    candidates: Box<[Candidate]> as Vec<Triple>,
    |list| list.iter().map(triple).collect(),
    |list| list.into_iter().map(candidate).collect()
);
written!(
    models: Arc<[ModelId]> as Vec<u32>,
    |list| list.iter().map(|model| model.0).collect(),
    |list| list.into_iter().map(ModelId).collect()
);
written!(
    offers: Vec<(TicketId, Box<[Candidate]>)> as Vec<(u64, Vec<Triple>)>,
    |list| list.iter().map(|(ticket, list)| (ticket.0, list.iter().map(triple).collect())).collect(),
    |list| {
        let offer =
            |(ticket, list): (u64, Vec<Triple>)| (TicketId(ticket), list.into_iter().map(candidate).collect());
        list.into_iter().map(offer).collect()
    }
);
written!(
    chain: Chain as Vec<(u64, u32, bool)>,
    |chain| chain.blocks().map(|block| (block.hash, block.tokens, block.own)).collect(),
    |blocks| Chain::new(blocks.into_iter().map(|(hash, tokens, own)| Block { hash, tokens, own }))
);
written!(
    backend_list: Vec<BackendId> as Vec<u32>,
    |list| list.iter().map(|id| id.0).collect(),
    |list| list.into_iter().map(BackendId).collect()
);
written!(digest: Box<Digest> as Summary, |digest| Summary(Digest::clone(digest)), |summary| Box::new(summary.0));
written!(model: ModelId as u32, |model| model.0, ModelId);
written!(
    marks: Vec<Mark> as Vec<(u64, u32)>,
    |marks| marks.iter().map(|mark| (mark.hash, mark.tokens)).collect(),
    |list| list.into_iter().map(|(hash, tokens)| Mark { hash, tokens }).collect()
);
written!(
    newcomer: Option<Box<Arrival>> as Option<Newcomer>,
    |arrival| arrival.as_deref().cloned().map(Newcomer),
    |newcomer| newcomer.map(|newcomer| Box::new(newcomer.0))
);
written!(
    boxed: Box<Arrival> as Newcomer,
    |arrival| Newcomer(Arrival::clone(arrival)),
    |newcomer| Box::new(newcomer.0)
);
written!(
    fleet: Arc<Fleet> as Whole,
    |fleet| Whole(Fleet::clone(fleet)),
    |whole| Arc::new(whole.0)
);
written!(
    backends: std::collections::BTreeMap<BackendId, Backend> as Vec<(u32, Member)>,
    |backends| backends.iter().map(|(id, backend)| (id.0, Member(backend.clone()))).collect(),
    |list| list.into_iter().map(|(id, member)| (BackendId(id), member.0)).collect()
);

/// A candidate: backend, model, reserve.
type Triple = (u32, u32, u8);

fn triple(candidate: &Candidate) -> Triple {
    let Candidate { backend, model, reserve } = candidate;
    (backend.0, model.0, *reserve)
}

fn candidate((backend, model, reserve): Triple) -> Candidate {
    Candidate { backend: BackendId(backend), model: ModelId(model), reserve }
}

/// A fleet as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Whole(#[serde(with = "FleetForm")] pub Fleet);

#[derive(Serialize, Deserialize)]
struct Summary(#[serde(with = "DigestForm")] Digest);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Digest", deny_unknown_fields)]
struct DigestForm {
    #[serde(with = "backend")]
    backend: BackendId,
    #[serde(with = "model")]
    model: ModelId,
    #[serde(with = "key")]
    key: Key,
    #[serde(with = "asked")]
    asked: Asked,
    #[serde(with = "marks")]
    marks: Vec<Mark>,
    tokens: u32,
    thought: u32,
    disturbed: bool,
    #[serde(with = "maybe")]
    first: Option<Span>,
    #[serde(with = "span")]
    took: Span,
    #[serde(with = "UsageForm")]
    usage: Usage,
}

#[derive(Serialize, Deserialize)]
struct Newcomer(#[serde(with = "ArrivalForm")] Arrival);

#[derive(Serialize, Deserialize)]
struct Member(#[serde(with = "BackendForm")] Backend);

/// An event as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told(#[serde(with = "EventForm")] pub Event);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Fleet", deny_unknown_fields)]
struct FleetForm {
    owner: bool,
    queue_max: usize,
    #[serde(with = "TuningForm")]
    tuning: Tuning,
    #[serde(with = "backends")]
    backends: std::collections::BTreeMap<BackendId, Backend>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Backend", deny_unknown_fields)]
struct BackendForm {
    slots: u32,
    priority: i32,
    max_input_tokens: Option<u32>,
    #[serde(with = "HealthForm")]
    health: Health,
    draining: bool,
    #[serde(with = "span")]
    release_grace: Span,
    #[serde(with = "CacheForm")]
    cache: Cache,
    models_max: Option<u32>,
    #[serde(with = "models")]
    resident: Arc<[ModelId]>,
    #[serde(default)]
    lot: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Tuning", deny_unknown_fields)]
struct TuningForm {
    eviction_weight: f64,
    #[serde(with = "span")]
    return_horizon: Span,
    interference_weight: f64,
    wait_margin: f64,
    wait_budget: f64,
    #[serde(with = "span")]
    wait_max: Span,
    hold: f64,
    #[serde(with = "span")]
    hold_max: Span,
    #[serde(with = "span")]
    hold_tenure: Span,
    #[serde(with = "span")]
    age_max: Span,
    collate: f64,
    priority_step: f64,
    #[serde(with = "maybe")]
    fair_quantum: Option<Span>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Health", rename_all = "snake_case")]
enum HealthForm {
    Unknown,
    Healthy,
    Unhealthy,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Cache", rename_all = "snake_case", deny_unknown_fields)]
enum CacheForm {
    Slots { ram: u32 },
    Pool { tokens: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Event", rename_all = "snake_case", deny_unknown_fields)]
enum EventForm {
    Arrive(#[serde(with = "ArrivalForm")] Arrival),
    Waited {
        #[serde(with = "boxed")]
        arrival: Box<Arrival>,
        #[serde(with = "moment")]
        since: Moment,
        #[serde(with = "backend_list")]
        tried: Vec<BackendId>,
    },
    Began {
        #[serde(with = "ticket")]
        ticket: TicketId,
        #[serde(with = "backend")]
        backend: BackendId,
        #[serde(with = "newcomer")]
        arrival: Option<Box<Arrival>>,
    },
    Back {
        #[serde(with = "ticket")]
        ticket: TicketId,
    },
    Slots {
        #[serde(with = "backend")]
        backend: BackendId,
        slots: Option<u32>,
    },
    Learn(#[serde(with = "digest")] Box<Digest>),
    Share(bool),
    Recall,
    FirstToken {
        #[serde(with = "ticket")]
        ticket: TicketId,
    },
    Fail {
        #[serde(with = "ticket")]
        ticket: TicketId,
        #[serde(with = "FaultForm")]
        fault: Fault,
        sent: bool,
    },
    Finish {
        #[serde(with = "ticket")]
        ticket: TicketId,
        #[serde(with = "OutcomeForm")]
        outcome: Outcome,
        #[serde(with = "UsageForm")]
        usage: Usage,
    },
    Cancel {
        #[serde(with = "ticket")]
        ticket: TicketId,
    },
    Observe {
        #[serde(with = "backend")]
        backend: BackendId,
        idle: bool,
    },
    Told {
        #[serde(with = "backend")]
        backend: BackendId,
        requests: u32,
        #[serde(with = "span")]
        age: Span,
    },
    Adopt(#[serde(with = "fleet")] Arc<Fleet>),
    Reroute {
        #[serde(with = "fleet")]
        fleet: Arc<Fleet>,
        #[serde(with = "offers")]
        offers: Vec<(TicketId, Box<[Candidate]>)>,
    },
    Close,
    Wake,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Arrival", deny_unknown_fields)]
struct ArrivalForm {
    #[serde(with = "ticket")]
    ticket: TicketId,
    #[serde(with = "key")]
    key: Key,
    #[serde(with = "asked")]
    asked: Asked,
    weight: u16,
    #[serde(with = "ClassForm")]
    class: Class,
    prompt_tokens: u32,
    #[serde(with = "chain")]
    prompt: Chain,
    #[serde(with = "PolicyForm")]
    policy: Policy,
    #[serde(with = "candidates")]
    candidates: Box<[Candidate]>,
    #[serde(with = "moment")]
    deadline: Moment,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Class", rename_all = "snake_case")]
enum ClassForm {
    Interactive,
    Normal,
    Batch,
}

/// A policy by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named(#[serde(with = "PolicyForm")] pub Policy);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Policy", rename_all = "kebab-case")]
enum PolicyForm {
    CacheAffine,
    Priority,
    RoundRobin,
    Weighted,
    LeastBusy,
    LowestLatency,
    TokenAware,
    LongWaits,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Outcome", rename_all = "snake_case")]
enum OutcomeForm {
    Done,
    Failed,
    Aborted,
    Unsent,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Usage", deny_unknown_fields)]
struct UsageForm {
    cached: Option<u32>,
    prompt: Option<u32>,
    output: Option<u32>,
    #[serde(with = "maybe")]
    prefill: Option<Span>,
    #[serde(with = "EndForm")]
    end: End,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "End", rename_all = "snake_case")]
enum EndForm {
    Tool,
    Turn,
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Fault", rename_all = "snake_case", deny_unknown_fields)]
enum FaultForm {
    Connect,
    Refused,
    Reset,
    Timeout,
    Slow,
    Status,
    Limited {
        #[serde(with = "maybe")]
        retry_after: Option<Span>,
    },
    Answer,
}
