//! The planner: from everything known to the next picture. Pure, but for what it keeps to share.

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
/// A clone shares what is in it, and what did not change from one picture to the next is shared by both.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// The revision that it was planned from.
    pub revision: u64,
    /// In order of name.
    pub backends: Vec<Arc<Planned>>,
    /// In the order in which they are tried.
    pub routes: Vec<Arc<Record<Route>>>,
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

type Seen = BTreeMap<Name, Arc<Observed>>;

/// Joins what is wanted and what is seen. What it joined last is kept, so that a small change of a large fleet is little
/// work: a look at each backend, and no copy of any that stayed as it was.
#[derive(Debug, Default)]
pub struct Planner {
    /// In order of name.
    joined: Vec<Joined>,
    /// In the order in which they are tried, and the configuration that says so.
    routes: Vec<Arc<Record<Route>>>,
    ordered: Option<Arc<Desired>>,
}

#[derive(Debug)]
struct Joined {
    record: Arc<Record<Backend>>,
    seen: Option<Arc<Observed>>,
    planned: Arc<Planned>,
}

impl Planner {
    /// The next picture.
    pub fn plan(&mut self, desired: &Arc<Desired>, seen: &Seen) -> Picture {
        let mut before = std::mem::take(&mut self.joined).into_iter().peekable();
        let mut seen = seen.iter().peekable();
        self.joined.reserve(desired.backends.len());
        for (name, record) in &desired.backends {
            // All three are in order of name.
            while before.next_if(|joined| joined.planned.name < *name).is_some() {}
            while seen.next_if(|(other, _)| *other < name).is_some() {}
            let before = before.next_if(|joined| joined.planned.name == *name);
            let seen = seen.next_if(|(other, _)| *other == name).map(|(_, seen)| seen);
            self.joined.push(joined(record, seen, before));
        }
        if !self.ordered.as_ref().is_some_and(|ordered| Arc::ptr_eq(ordered, desired)) {
            self.routes = desired.routes_in_order().into_iter().cloned().collect();
            self.ordered = Some(Arc::clone(desired));
        }
        let backends = self.joined.iter().map(|joined| Arc::clone(&joined.planned)).collect();
        let (routes, scheduling) = (self.routes.clone(), desired.scheduling.clone());
        Picture { revision: desired.revision, backends, routes, scheduling }
    }
}

fn joined(record: &Arc<Record<Backend>>, seen: Option<&Arc<Observed>>, before: Option<Joined>) -> Joined {
    let same = |joined: &Joined| {
        let seen = match (&joined.seen, seen) {
            (Some(was), Some(is)) => Arc::ptr_eq(was, is),
            (was, is) => was.is_none() && is.is_none(),
        };
        seen && Arc::ptr_eq(&joined.record, record)
    };
    match before {
        Some(joined) if same(&joined) => joined,
        before => {
            let planned = match seen {
                Some(seen) => join(&record.value, seen),
                None => join(&record.value, &Observed::default()),
            };
            let kept = before.map(|joined| joined.planned).filter(|kept| **kept == planned);
            let planned = kept.unwrap_or_else(|| Arc::new(planned));
            Joined { record: Arc::clone(record), seen: seen.cloned(), planned }
        }
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
