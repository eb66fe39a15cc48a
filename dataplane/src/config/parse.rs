//! Turns a received snapshot into one that can be served, or says everything that is wrong with it.

use std::{
    collections::BTreeSet,
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use proto::v1;
use sched::{Cache, Class, Fleet, Health, ModelId, Policy, Span, Tuning};
use wire::{Dialect, Pattern};

use super::{Backend, Kind, Model, Planes, Secret, Snapshot, Version, planes::planes, tuning::tuning};
use crate::{
    deadline::Deadlines,
    peer::{NAME_BYTES_MAX, Names},
    provider::Base,
    route::{Kept, Match, Rule, Shares, Table, Target, Terms, number},
};

/// A secret in a file has at most this many bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Turns what is received into what can be served.
#[derive(Debug)]
pub struct Parser {
    names: Arc<Names>,
    shares: Kept,
    queue_max: usize,
    /// No prober stands behind the snapshot: every backend counts as healthy and the slots are ours.
    pub alone: bool,
    /// The prober has been lost for so long that a backend which it found unhealthy may be well again.
    pub doubting: bool,
    /// The control plane turned this data plane away: it starts nothing.
    pub denied: bool,
    /// The id of this data plane and the count of its starts; none: it follows nobody.
    pub own: Option<(String, u64)>,
    /// Other data planes can reach this one.
    pub reachable: bool,
    /// Slots are shared with others, for as long as the process lives once they were.
    shared: bool,
}

impl Parser {
    /// A parser whose fleets bound the queue by `queue_max` tickets, with a table of names of its own.
    #[must_use]
    pub fn new(queue_max: usize, alone: bool) -> Self {
        Self::named(queue_max, alone, Arc::default())
    }

    /// As `new`, with the table that other parts of the process use as well.
    #[must_use]
    pub fn named(queue_max: usize, alone: bool, names: Arc<Names>) -> Self {
        Self {
            names,
            shares: Kept::default(),
            queue_max,
            alone,
            doubting: false,
            denied: false,
            own: None,
            reachable: false,
            shared: false,
        }
    }

    /// Converts `snapshot`.
    ///
    /// # Errors
    /// Every fault, a sentence each; nothing of a faulty snapshot is used.
    pub fn parse(&mut self, snapshot: &v1::Snapshot) -> Result<Snapshot, Vec<String>> {
        let mut faults = Vec::new();
        let mut backends = Vec::with_capacity(snapshot.backends.len());
        let mut seen = BTreeSet::new();
        for row in &snapshot.backends {
            if !seen.insert(row.name.as_str()) {
                faults.push(format!("backends[{}]: the name appears twice", row.name));
                continue;
            }
            if let Some(backend) = self.backend(row, &mut faults) {
                backends.push((backend, row));
            }
        }
        let rules = self.rules(&snapshot.routes, &mut faults);
        let tuning = tuning(&snapshot.scheduling.unwrap_or_default()).unwrap_or_else(|more| {
            faults.extend(more);
            Tuning::default()
        });
        let planes = planes(snapshot, &self.names, self.own.as_ref(), &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        self.shared |= self.reachable && planes.shared();
        let appointed = snapshot.owner && (planes.leads() || planes.resumes());
        let owner = ((appointed || self.shared) && !self.denied) || self.alone;
        let fleet = Fleet { owner, queue_max: self.queue_max, tuning, ..Fleet::default() };
        let draining = planes.draining();
        Ok(Snapshot {
            planes,
            draining,
            shared: self.shared,
            denied: self.denied,
            ..join(snapshot, backends, rules, fleet)
        })
    }

    fn backend(&mut self, row: &v1::SnapshotBackend, faults: &mut Vec<String>) -> Option<Backend> {
        let place = format!("backends[{}]", row.name);
        if row.name.is_empty() || row.name.len() > NAME_BYTES_MAX {
            faults.push(format!(
                "{place}.name: {:?} is not allowed: 1 to {NAME_BYTES_MAX} characters",
                row.name
            ));
        }
        if row.slots == 0 {
            faults.push(format!("{place}.slots: 0 is not allowed: at least 1"));
        }
        let ca_file = (!row.ca_file.is_empty()).then(|| PathBuf::from(&row.ca_file));
        let base = match Base::parse(&row.url, ca_file) {
            Ok(base) => Arc::new(base),
            Err(problem) => {
                faults.push(format!("{place}.url: {:?} is not allowed: {problem}", row.url));
                return None;
            }
        };
        let (credential, unreadable) = match credential(&row.credential) {
            Ok(secret) => (secret, None),
            Err(problem) => (None, Some(problem)),
        };
        let (health, reason) = match unreadable {
            // What is known here needs no control plane.
            Some(problem) => (Health::Unhealthy, problem),
            None => (self.health(row.health), row.reason.clone()),
        };
        Some(Backend {
            id: self.names.backend(&row.name)?,
            name: Arc::from(row.name.as_str()),
            kind: kind(row.kind),
            base,
            credential,
            dialects: row.dialects.iter().filter_map(|number| dialect(*number)).collect(),
            models: row.models.iter().map(model).collect(),
            health,
            draining: row.draining,
            reason,
            priority: row.priority,
        })
    }

    fn rules(&mut self, routes: &[v1::Route], faults: &mut Vec<String>) -> Vec<Rule> {
        let mut rules = Vec::with_capacity(routes.len());
        for route in routes {
            let weights: Vec<Option<u32>> = route.targets.iter().map(|target| target.weight).collect();
            match rule(route) {
                Ok(rule) => {
                    let shares = Shares::new(&weights, route.policy() == v1::Policy::Weighted);
                    let shares = shares.map(|shares| self.shares.keep(&route.name, shares));
                    rules.push(rule.shared(shares));
                }
                Err(problem) => faults.push(format!("routes[{}]: {problem}", route.name)),
            }
        }
        let names: BTreeSet<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        self.shares.retain(|name| names.contains(name));
        rules
    }

    fn health(&self, said: i32) -> Health {
        match v1::Health::try_from(said).unwrap_or_default() {
            _ if self.alone => Health::Healthy,
            v1::Health::Healthy => Health::Healthy,
            v1::Health::Unhealthy if !self.doubting => Health::Unhealthy,
            v1::Health::Unhealthy | v1::Health::Unspecified => Health::Unknown,
        }
    }
}

fn join(
    snapshot: &v1::Snapshot,
    rows: Vec<(Backend, &v1::SnapshotBackend)>,
    rules: Vec<Rule>,
    mut fleet: Fleet,
) -> Snapshot {
    let mut backends = Vec::with_capacity(rows.len());
    for (backend, row) in rows {
        fleet.backends.insert(
            backend.id,
            sched::Backend {
                slots: row.slots,
                priority: row.priority,
                max_input_tokens: (row.max_input_tokens > 0).then_some(row.max_input_tokens),
                health: backend.health,
                draining: backend.draining,
                release_grace: release_grace(backend.kind),
                cache: cache(backend.kind, row.cache_tokens),
                models_max: (row.max_loaded_models > 0).then_some(row.max_loaded_models),
                resident: resident(row),
                lot: number(&row.name).0,
            },
        );
        backends.push(Arc::new(backend));
    }
    let places = backends.iter().enumerate().map(|(place, backend)| (backend.id, place)).collect();
    Snapshot {
        version: snapshot.version.as_ref().map(version).unwrap_or_default(),
        revision: snapshot.revision,
        table: Table::new(rules, &backends),
        backends,
        fleet: Arc::new(fleet),
        routing: routing(snapshot),
        places,
        salt: salt(&snapshot.salt),
        planes: Planes::default(),
        draining: false,
        shared: false,
        denied: false,
    }
}

fn routing(snapshot: &v1::Snapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    for row in &snapshot.backends {
        (&row.name, &row.url, &row.dialects).hash(&mut hasher);
        row.models.iter().for_each(|model| model.name.hash(&mut hasher));
    }
    for route in &snapshot.routes {
        format!("{route:?}").hash(&mut hasher);
    }
    hasher.finish()
}

/// How long an engine of this kind may work on after its client left. A service has no slots of its own to wait for.
const fn release_grace(kind: Kind) -> Span {
    match kind {
        Kind::Llamacpp => Span::from_millis(150),
        Kind::Vllm | Kind::Sglang => Span::from_millis(100),
        Kind::Ollama | Kind::LmStudio | Kind::Unknown => Span::from_millis(250),
        Kind::Openai | Kind::Anthropic | Kind::Gemini => Span::ZERO,
    }
}

/// What is in its memory, where it cannot hold all that it serves.
fn resident(row: &v1::SnapshotBackend) -> Arc<[ModelId]> {
    let loads = row.max_loaded_models > 0;
    row.models.iter().filter(|model| loads && model.resident).map(|model| number(&model.name)).collect()
}

/// What prompts are hashed with: all of the installation's salt, which is random.
fn salt(bytes: &[u8]) -> u64 {
    let words =
        bytes.chunks_exact(8).map(|word| word.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    words.fold(0, |salt, word| salt ^ word)
}

/// How a server of this kind keeps prompts, where it does not say so itself (SCHEDULING.md, section 1).
const fn cache(kind: Kind, told: u32) -> Cache {
    match kind {
        // --cache-ram, 8 GiB by default, at some 128 KiB a token
        Kind::Llamacpp => Cache::Slots { ram: 65_536 },
        Kind::Ollama | Kind::LmStudio | Kind::Unknown => Cache::Slots { ram: 0 },
        Kind::Vllm | Kind::Sglang => Cache::Pool { tokens: if told > 0 { told } else { 200_000 } },
        Kind::Openai | Kind::Anthropic | Kind::Gemini => Cache::Pool { tokens: 4_000_000 },
    }
}

fn rule(route: &v1::Route) -> Result<Rule, String> {
    let matches = match &route.r#match {
        Some(v1::route::Match::Exact(name)) if !name.is_empty() => Match::Exact(name.clone()),
        Some(v1::route::Match::Pattern(text)) => {
            Match::Pattern(Box::new(Pattern::new(text).map_err(|fault| format!("pattern: {fault}"))?))
        }
        _ => return Err("one of exact and pattern must be set".to_owned()),
    };
    let target = |target: &v1::Target| Target {
        model: target.model.clone(),
        backend: (!target.backend.is_empty()).then(|| target.backend.clone()),
    };
    if !route.targets.is_empty() && route.targets.iter().all(|target| target.weight == Some(0)) {
        return Err("targets: every weight is 0".to_owned());
    }
    let deadlines = deadlines(&route.deadlines.unwrap_or_default())?;
    let terms = Terms { deadlines, policy: policy(route.policy), class: class(route.class) };
    Rule::new(route.name.clone(), matches, route.targets.iter().map(target).collect(), terms)
}

/// One that a newer control plane knows, and this data plane does not, is as if none were set.
fn policy(number: i32) -> Policy {
    match v1::Policy::try_from(number).unwrap_or_default() {
        v1::Policy::Unspecified | v1::Policy::CacheAffine => Policy::CacheAffine,
        v1::Policy::Priority => Policy::Priority,
        v1::Policy::RoundRobin => Policy::RoundRobin,
        v1::Policy::Weighted => Policy::Weighted,
        v1::Policy::LeastBusy => Policy::LeastBusy,
        v1::Policy::LowestLatency => Policy::LowestLatency,
        v1::Policy::TokenAware => Policy::TokenAware,
        v1::Policy::LongWaits => Policy::LongWaits,
    }
}

/// As [`policy`].
fn class(number: i32) -> Class {
    match v1::Class::try_from(number).unwrap_or_default() {
        v1::Class::Interactive => Class::Interactive,
        v1::Class::Unspecified | v1::Class::Normal => Class::Normal,
        v1::Class::Batch => Class::Batch,
    }
}

/// What a route sets, and the defaults for the rest.
fn deadlines(given: &v1::Deadlines) -> Result<Deadlines, String> {
    let default = Deadlines::default();
    let read = |field: &str, span: &Option<proto::Duration>, default| match span {
        None => Ok(default),
        Some(span) => match proto::millis(span) {
            Ok(0) => Err(format!("deadlines.{field}: 0 is not allowed: more than zero")),
            Ok(ms) => Ok(Duration::from_millis(ms)),
            Err(problem) => Err(format!("deadlines.{field}: {problem}")),
        },
    };
    Ok(Deadlines {
        connect: read("connect", &given.connect, default.connect)?,
        first_token: read("first_token", &given.first_token, default.first_token)?,
        between_tokens: read("between_tokens", &given.between_tokens, default.between_tokens)?,
        total: read("total", &given.total, default.total)?,
    })
}

fn credential(text: &str) -> Result<Option<Secret>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let secret = if let Some(name) = text.strip_prefix("env:") {
        std::env::var(name).map_err(|_| format!("credential: the variable {name} is not set here"))?
    } else if let Some(path) = text.strip_prefix("file:") {
        secret_file(path).map_err(|error| format!("credential: {path} cannot be read here: {error}"))?
    } else {
        return Err("credential: only env:NAME and file:PATH are allowed".to_owned());
    };
    let secret = secret.trim();
    if secret.is_empty() || !secret.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        return Err(format!("credential: {text} holds no usable secret (visible ASCII, one line)"));
    }
    Ok(Some(Secret(secret.to_owned())))
}

/// No more than a secret may have: the path could be a device that never ends.
fn secret_file(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {SECRET_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn model(row: &v1::Model) -> Model {
    Model {
        name: Arc::from(row.name.as_str()),
        resident: row.resident,
        context_length: (row.context_length > 0).then_some(row.context_length),
        capabilities: row.capabilities.clone(),
    }
}

/// The proto's version as ours.
#[must_use]
pub fn version(version: &v1::Version) -> Version {
    Version { lineage: version.lineage.clone(), epoch: version.epoch, seq: version.seq }
}

fn kind(number: i32) -> Kind {
    match v1::Kind::try_from(number).unwrap_or_default() {
        v1::Kind::Unspecified => Kind::Unknown,
        v1::Kind::Ollama => Kind::Ollama,
        v1::Kind::LmStudio => Kind::LmStudio,
        v1::Kind::Llamacpp => Kind::Llamacpp,
        v1::Kind::Vllm => Kind::Vllm,
        v1::Kind::Sglang => Kind::Sglang,
        v1::Kind::Openai => Kind::Openai,
        v1::Kind::Anthropic => Kind::Anthropic,
        v1::Kind::Gemini => Kind::Gemini,
    }
}

fn dialect(number: i32) -> Option<Dialect> {
    match v1::Dialect::try_from(number).ok()? {
        v1::Dialect::Unspecified => None,
        v1::Dialect::OpenaiChat => Some(Dialect::OpenaiChat),
        v1::Dialect::OpenaiResponses => Some(Dialect::OpenaiResponses),
        v1::Dialect::OpenaiCompletions => Some(Dialect::OpenaiCompletions),
        v1::Dialect::OpenaiEmbeddings => Some(Dialect::OpenaiEmbeddings),
        v1::Dialect::AnthropicMessages => Some(Dialect::Anthropic),
        v1::Dialect::GeminiContent => Some(Dialect::Gemini),
        v1::Dialect::OllamaNative => Some(Dialect::Ollama),
    }
}
