//! From a requested model name to the backends that may serve it, and under which name there.

use std::{collections::BTreeMap, sync::Arc};

use sched::{Class, ModelId, Policy};
use wire::{Dialect, Pattern};

use crate::{config::Backend, deadline::Deadlines};

mod share;

pub use share::{Kept, Shares};

/// Candidates of one request at most.
pub const CANDIDATES_MAX: usize = 1024;
/// Models named in the hint of an unknown name.
const HINT_MAX: usize = 8;
/// Names of one list that are looked at.
const LIST_MAX: usize = 16;

/// How bytes travel to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Client and server speak the same dialect: the client's bytes, with the edits of `wire::edits` alone.
    Pass,
}

/// A backend that may serve a request.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which.
    pub backend: Arc<Backend>,
    /// The model's name there.
    pub model: Arc<str>,
    /// How the bytes get there.
    pub lane: Lane,
    /// It is taken only where none of a lower number could take the request.
    pub reserve: u8,
    /// Which target of the route it is of, where they have weights.
    target: u16,
}

impl Candidate {
    /// As the scheduling core knows it.
    #[must_use]
    pub fn numbered(&self) -> sched::Candidate {
        sched::Candidate { backend: self.backend.id, model: number(&self.model), reserve: self.reserve }
    }
}

/// A model's number: a hash of its name, so that no table of them is kept. Two of one number on one backend would share
/// what is measured of them and their place in memory, and nothing else.
#[must_use]
pub fn number(model: &str) -> ModelId {
    // FNV-1a
    let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    ModelId(model.bytes().fold(2_166_136_261, fold))
}

/// What a requested name leads to.
#[derive(Clone, Debug)]
pub struct Found {
    /// Who may serve it.
    pub candidates: Vec<Candidate>,
    /// Of the route that was taken, or the defaults.
    pub terms: Terms,
    /// Where the targets of the route have weights.
    shares: Option<Arc<Shares>>,
    /// What stands for the request among those of its route.
    drawn: u64,
}

/// What a route says of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long a backend may take.
    pub deadlines: Deadlines,
    /// By which rule they are placed.
    pub policy: Policy,
    /// The most urgent that they are.
    pub class: Class,
}

impl Found {
    /// The candidates as the core knows them.
    #[must_use]
    pub fn numbered(&self) -> Box<[sched::Candidate]> {
        self.candidates.iter().map(Candidate::numbered).collect()
    }
}

/// What a request asked for, to be looked up again while it waits.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The name it asked for.
    pub model: String,
    /// In which dialect.
    pub dialect: Dialect,
    /// What that led to.
    pub found: Found,
}

impl Lookup {
    /// What it leads to by another table, when that is anything, and anything else than before.
    #[must_use]
    pub fn renew(&self, table: &Table) -> Option<Found> {
        let mut found = table.candidates(&self.model, self.dialect).ok()?;
        found.prefer(self.found.drawn);
        let same = found.candidates.iter().map(Candidate::numbered).eq(self
            .found
            .candidates
            .iter()
            .map(Candidate::numbered));
        (!same).then_some(found)
    }
}

/// Why a name has no candidates.
#[derive(Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No route and no backend knows it.
    Unknown {
        /// What exists instead, or which route led nowhere.
        hint: String,
    },
    /// It exists, but only behind other dialects.
    OtherDialect {
        /// The dialects that its backends speak.
        spoken: Vec<Dialect>,
    },
}

/// A backend and the name of a model there.
type Holder = (Arc<Backend>, Arc<str>);

/// What a rule matches.
#[derive(Debug)]
pub enum Match {
    /// This name, literally.
    Exact(String),
    /// Every name in which it is found.
    Pattern(Box<Pattern>),
}

/// Where a rule leads.
#[derive(Debug)]
pub struct Target {
    /// The model there, with the captures of the pattern; empty: the requested name.
    pub model: String,
    /// Only this backend.
    pub backend: Option<String>,
}

/// A route.
#[derive(Debug)]
pub struct Rule {
    name: String,
    matches: Match,
    targets: Vec<Target>,
    terms: Terms,
    shares: Option<Arc<Shares>>,
}

impl Rule {
    /// A route to `targets`, in order.
    ///
    /// # Errors
    /// What is wrong with the targets, in a sentence.
    pub fn new(name: String, matches: Match, targets: Vec<Target>, terms: Terms) -> Result<Self, String> {
        if targets.is_empty() {
            return Err("targets: at least one is needed".to_owned());
        }
        if let Match::Pattern(pattern) = &matches {
            for target in &targets {
                pattern.check_template(&target.model).map_err(|fault| format!("targets: {fault}"))?;
            }
        }
        Ok(Self { name, matches, targets, terms, shares: None })
    }

    /// The same, with weights for its targets, which are as many.
    #[must_use]
    pub fn shared(self, shares: Option<Arc<Shares>>) -> Self {
        Self { shares, ..self }
    }

    /// The model names at backends that `requested` becomes, in order; none when the rule does not match.
    fn expand(&self, requested: &str) -> Option<Vec<(String, Option<&str>)>> {
        self.targets
            .iter()
            .map(|target| Some((self.model(requested, &target.model)?, target.backend.as_deref())))
            .collect()
    }

    fn model(&self, requested: &str, template: &str) -> Option<String> {
        match &self.matches {
            Match::Exact(name) if name == requested && template.is_empty() => Some(requested.to_owned()),
            Match::Exact(name) => (name == requested).then(|| template.to_owned()),
            Match::Pattern(pattern) => pattern.expand(requested, template),
        }
    }
}

/// Every rule and every served model, indexed.
#[derive(Debug, Default)]
pub struct Table {
    exact: BTreeMap<String, Rule>,
    patterns: Vec<Rule>,
    /// Served model names, less `:latest`, to who serves them under which spelling, in order of backend name.
    served: BTreeMap<Box<str>, Vec<Holder>>,
    backends: BTreeMap<Arc<str>, Arc<Backend>>,
}

fn untagged(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}

impl Table {
    /// Indexes `rules` (in the order in which they are tried) over `backends`.
    #[must_use]
    pub fn new(rules: Vec<Rule>, backends: &[Arc<Backend>]) -> Self {
        let mut table = Self::default();
        for rule in rules {
            match &rule.matches {
                Match::Exact(name) => {
                    table.exact.entry(name.clone()).or_insert(rule);
                }
                Match::Pattern(_) => table.patterns.push(rule),
            }
        }
        for backend in backends {
            table.backends.insert(backend.name.clone(), backend.clone());
            for model in &backend.models {
                let holders = table.served.entry(untagged(&model.name).into()).or_default();
                if !holders.iter().any(|(at, spelt)| at.id == backend.id && *spelt == model.name) {
                    holders.push((backend.clone(), model.name.clone()));
                }
            }
        }
        table
    }

    fn spellings(&self) -> impl Iterator<Item = &str> {
        self.served.values().flatten().map(|(_, spelt)| &**spelt)
    }

    /// Names that clients may ask for without a backend of that name: those of exact routes.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().map(String::as_str)
    }

    /// The backends that may serve `requested` to a client of `dialect`.
    ///
    /// An exact route comes first, then the name as served, then the patterns in their order; the first of these that
    /// matches decides. Names without a tag stand for `:latest`, as Ollama's do.
    ///
    /// Of a list of names with commas the first that leads to anyone decides, unless the whole is a name itself.
    ///
    /// # Errors
    /// [`NoRoute`], of a list that of the whole.
    pub fn candidates(&self, requested: &str, dialect: Dialect) -> Result<Found, NoRoute> {
        if requested.contains(',') && !self.names(requested) {
            let mut parts =
                requested.split(',').map(str::trim).filter(|part| !part.is_empty()).take(LIST_MAX);
            if let Some(found) = parts.find_map(|part| self.lead(part, dialect).ok()) {
                return Ok(found);
            }
        }
        self.lead(requested, dialect)
    }

    /// Whether a route or a backend has exactly this name.
    fn names(&self, requested: &str) -> bool {
        self.exact.contains_key(requested) || self.served.contains_key(untagged(requested))
    }

    fn lead(&self, requested: &str, dialect: Dialect) -> Result<Found, NoRoute> {
        let mut ends = Vec::new();
        let (found, rule) = self.find(requested, &mut ends);
        if found.is_empty() {
            return Err(NoRoute::Unknown { hint: self.hint(rule) });
        }
        let mut spoken: Vec<Dialect> = Vec::new();
        let mut candidates: Vec<Candidate> = Vec::with_capacity(found.len());
        for (at, (backend, model)) in found.into_iter().enumerate() {
            let target = ends.iter().take_while(|end| **end <= at).count() as u16;
            let twice = |other: &Candidate| other.backend.id == backend.id && other.target == target;
            if !backend.dialects.contains(&dialect) {
                spoken.extend(&backend.dialects);
            } else if candidates.len() < CANDIDATES_MAX && !candidates.iter().any(twice) {
                candidates.push(Candidate { backend, model, lane: Lane::Pass, reserve: 0, target });
            }
        }
        if candidates.is_empty() {
            spoken.sort_unstable();
            spoken.dedup();
            return Err(NoRoute::OtherDialect { spoken });
        }
        let terms = rule.map(|rule| rule.terms).unwrap_or_default();
        Ok(Found { candidates, terms, shares: rule.and_then(|rule| rule.shares.clone()), drawn: 0 })
    }

    /// Beside them, where those of each target end, where targets have weights.
    fn find(&self, requested: &str, ends: &mut Vec<usize>) -> (Vec<Holder>, Option<&Rule>) {
        if let Some(rule) = self.exact.get(requested) {
            return (self.follow(rule, requested, ends), Some(rule));
        }
        let served = self.serving(requested);
        if !served.is_empty() {
            return (served, None);
        }
        match self.patterns.iter().find(|rule| rule.expand(requested).is_some()) {
            Some(rule) => (self.follow(rule, requested, ends), Some(rule)),
            None => (Vec::new(), None),
        }
    }

    fn follow(&self, rule: &Rule, requested: &str, ends: &mut Vec<usize>) -> Vec<Holder> {
        let mut found = Vec::new();
        for (model, backend) in rule.expand(requested).unwrap_or_default() {
            match backend {
                // A backend named by the operator is believed to serve the model, listed or not.
                Some(name) => {
                    if let Some(backend) = self.backends.get(name) {
                        let listed = self.serving(&model).into_iter().find(|(at, _)| at.id == backend.id);
                        let model = listed.map_or_else(|| Arc::from(model.as_str()), |(_, model)| model);
                        found.push((backend.clone(), model));
                    }
                }
                None => found.extend(self.serving(&model)),
            }
            if rule.shares.is_some() {
                ends.push(found.len());
            }
        }
        found
    }

    /// Who serves a model of this name, and how it is spelt there.
    fn serving(&self, name: &str) -> Vec<Holder> {
        let Some(holders) = self.served.get(untagged(name)) else { return Vec::new() };
        let mut found: Vec<Holder> = Vec::with_capacity(holders.len());
        found.extend(holders.iter().filter(|(_, spelt)| **spelt == *name).cloned());
        for holder in holders.iter().filter(|(_, spelt)| **spelt != *name) {
            if !found.iter().any(|(at, _)| at.id == holder.0.id) {
                found.push(holder.clone());
            }
        }
        found
    }

    fn hint(&self, rule: Option<&Rule>) -> String {
        if let Some(rule) = rule {
            return format!("route {:?} matches, but no backend serves what it leads to", rule.name);
        }
        let mut names: Vec<&str> = self.spellings().chain(self.aliases()).collect();
        names.sort_unstable();
        names.dedup();
        match names.len() {
            0 => "no backend serves any model yet".to_owned(),
            count if count > HINT_MAX => {
                format!("served are {}, and {} more", names[..HINT_MAX].join(", "), count - HINT_MAX)
            }
            _ => format!("served are {}", names.join(", ")),
        }
    }
}
