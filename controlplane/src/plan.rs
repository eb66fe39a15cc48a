//! The planner: from everything known to the next picture. Pure.

pub mod check;

use std::{collections::BTreeMap, sync::Arc};

use wire::Dialect;

use crate::model::{
    Backend, BaseUrl, Credential, Desired, Health, Kind, Model, Name, Observed, Record, Route, Scheduling,
};

/// Slots of a hosted service that does not tell.
const SLOTS_HOSTED: u32 = 64;
/// Slots of a server that batches and does not tell: vLLM, SGLang.
const SLOTS_BATCHING: u32 = 16;
/// Slots of any other server that does not tell.
const SLOTS_LOCAL: u32 = 1;

/// What data planes serve by, before it has a version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// The revision that it was planned from.
    pub revision: u64,
    /// In order of name.
    pub backends: Vec<Planned>,
    /// In the order in which they are tried.
    pub routes: Vec<Record<Route>>,
    /// The figures by which requests are placed.
    pub scheduling: Record<Scheduling>,
}

/// A backend, desired and observed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub url: BaseUrl,
    /// The operator's word, else as found.
    pub kind: Option<Kind>,
    /// The operator's word, else as found.
    pub dialects: Vec<Dialect>,
    /// As found.
    pub models: Vec<Model>,
    /// Requests in flight at most.
    pub slots: u32,
    /// Neither told nor configured.
    pub slots_assumed: bool,
    /// Higher first.
    pub priority: i32,
    /// 0: no limit.
    pub max_input_tokens: u32,
    /// Models in its memory at the same time; 0: all.
    pub max_loaded_models: u32,
    /// Tokens that its prompt cache holds; 0: not told.
    pub cache_tokens: u32,
    /// Where the secret is read.
    pub credential: Option<Credential>,
    /// PEM file.
    pub ca_file: Option<String>,
    /// No new work.
    pub draining: bool,
    /// After hysteresis.
    pub health: Health,
    /// Why not healthy.
    pub reason: String,
}

/// Joins what is wanted and what is seen.
#[must_use]
pub fn plan(desired: &Desired, seen: &BTreeMap<Name, Arc<Observed>>) -> Picture {
    let unseen = Observed::default();
    let one = |record: &Record<Backend>| {
        let backend = &record.value;
        join(backend, seen.get(&backend.name).map_or(&unseen, |seen| seen))
    };
    Picture {
        revision: desired.revision,
        backends: desired.backends.values().map(one).collect(),
        routes: desired.routes_in_order().into_iter().cloned().collect(),
        scheduling: desired.scheduling.clone(),
    }
}

fn join(backend: &Backend, seen: &Observed) -> Planned {
    let (slots, slots_assumed) = slots(backend, seen);
    let dialects = if backend.dialects.is_empty() { &seen.dialects } else { &backend.dialects };
    Planned {
        name: backend.name.clone(),
        url: backend.url.clone(),
        kind: backend.kind.or(seen.kind),
        dialects: dialects.clone(),
        models: seen.models.clone(),
        slots,
        slots_assumed,
        priority: backend.priority,
        max_input_tokens: backend.max_input_tokens,
        max_loaded_models: max_loaded_models(backend, seen),
        cache_tokens: seen.cache_tokens,
        credential: backend.credential.clone(),
        ca_file: backend.ca_file.clone(),
        draining: backend.draining,
        health: seen.health,
        reason: seen.reason.clone(),
    }
}

/// Slots of a backend and whether they are assumed: the operator's word, the server's, the default of its kind.
#[must_use]
pub fn slots(backend: &Backend, seen: &Observed) -> (u32, bool) {
    let bound = |slots: u32| slots.min(crate::model::SLOTS_MAX);
    match (backend.max_concurrency, seen.slots) {
        (0, 0) => (assumed(backend, backend.kind.or(seen.kind)), true),
        (0, told) => (bound(told), false),
        (wanted, _) => (bound(wanted), false),
    }
}

/// Models that a backend holds at a time, 0 for all: the operator's word, else of the kinds that load a model when it is
/// asked for the most that were seen there at once, at least one. Where that is too few the next load shows it: it waits
/// until all is quiet, and the model that was there stays.
fn max_loaded_models(backend: &Backend, seen: &Observed) -> u32 {
    let loads = match backend.kind.or(seen.kind) {
        Some(Kind::Ollama | Kind::LmStudio) => true,
        // a router: one model alone is always there
        Some(Kind::Llamacpp) => seen.models.iter().any(|model| !model.resident),
        _ => false,
    };
    match backend.max_loaded_models {
        0 if loads => seen.loaded_most.max(1),
        wanted => wanted,
    }
}

fn assumed(backend: &Backend, kind: Option<Kind>) -> u32 {
    match kind {
        Some(Kind::Ollama | Kind::LmStudio | Kind::Llamacpp) => SLOTS_LOCAL,
        Some(Kind::Vllm | Kind::Sglang) => SLOTS_BATCHING,
        _ if backend.url.is_hosted() => SLOTS_HOSTED,
        _ => SLOTS_LOCAL,
    }
}

#[cfg(test)]
mod tests;
