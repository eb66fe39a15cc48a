//! Proto to model: a valid value or all faults at once.

mod scheduling;

use std::collections::BTreeSet;

use proto::v1;
use wire::{Dialect, Pattern};

use super::{
    Backend, BaseUrl, Class, Config, Credential, Deadlines, Fault, Kind, LOADED_MAX, Matcher, Name,
    PRIORITY_MAX, Policy, Route, SLOTS_MAX, TARGETS_MAX, TEXT_BYTES_MAX, Target, WEIGHT_MAX,
};

pub use scheduling::scheduling;

/// Faults that one answer names at most.
pub const FAULTS_MAX: usize = 100;

/// Collects the faults of one resource under its path.
struct Reader<'a> {
    at: String,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, field: &str, problem: impl std::fmt::Display) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault::new(format!("{}.{field}", self.at), problem.to_string()));
        }
    }

    fn ok<T, E: std::fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|problem| self.fault(field, problem)).ok()
    }

    fn within(&mut self, field: &str, value: i32) -> i32 {
        if !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&value) {
            self.fault(field, format!("{value} is not allowed: -{PRIORITY_MAX} to {PRIORITY_MAX}"));
        }
        value
    }

    fn text(&mut self, field: &str, value: &str) {
        if value.len() > TEXT_BYTES_MAX {
            self.fault(field, format!("{} bytes, at most {TEXT_BYTES_MAX} are allowed", value.len()));
        } else if value.chars().any(char::is_control) {
            self.fault(field, "control characters are not allowed");
        }
    }
}

/// Reads one backend.
///
/// # Errors
/// All faults at once.
pub fn backend(given: Option<v1::Backend>) -> Result<Backend, Vec<Fault>> {
    let given = given.ok_or_else(|| vec![Fault::new("backend", "missing")])?;
    let mut faults = Vec::new();
    let backend = backend_at(&given, &place("backends", &given.name, 0), &mut faults);
    backend.filter(|_| faults.is_empty()).ok_or(faults)
}

/// Reads what a probe needs to know: URL, kind, credential and authority; the name may be missing.
///
/// # Errors
/// All faults at once.
pub fn probed(given: Option<v1::Backend>) -> Result<Backend, Vec<Fault>> {
    let given = given.ok_or_else(|| vec![Fault::new("backend", "missing")])?;
    backend(Some(v1::Backend {
        name: "probed".to_owned(),
        url: given.url,
        kind: given.kind,
        credential: given.credential,
        ca_file: given.ca_file,
        ..v1::Backend::default()
    }))
}

/// Reads one route.
///
/// # Errors
/// All faults at once.
pub fn route(given: Option<v1::Route>) -> Result<Route, Vec<Fault>> {
    let given = given.ok_or_else(|| vec![Fault::new("route", "missing")])?;
    let mut faults = Vec::new();
    let route = route_at(&given, &place("routes", &given.name, 0), &mut faults);
    route.filter(|_| faults.is_empty()).ok_or(faults)
}

/// Reads a whole configuration.
///
/// # Errors
/// All faults at once.
pub fn config(given: Option<v1::Config>) -> Result<Config, Vec<Fault>> {
    let given = given.ok_or_else(|| vec![Fault::new("config", "missing")])?;
    let mut faults = Vec::new();
    let mut config = Config::default();
    let mut names = BTreeSet::new();
    for (at, one) in given.backends.iter().enumerate() {
        let path = place("backends", &one.name, at);
        let read = backend_at(one, &path, &mut faults);
        twice(&mut names, &one.name, &path, &mut faults);
        config.backends.extend(read.map(|backend| (backend, one.revision)));
    }
    names.clear();
    for (at, one) in given.routes.iter().enumerate() {
        let path = place("routes", &one.name, at);
        let read = route_at(one, &path, &mut faults);
        twice(&mut names, &one.name, &path, &mut faults);
        config.routes.extend(read.map(|route| (route, one.revision)));
    }
    config.scheduling =
        given.scheduling.map(|given| (scheduling::scheduling_at(&given, &mut faults), given.revision));
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

/// A name that is one tells where best, else the index does.
fn place(list: &str, name: &str, at: usize) -> String {
    match Name::new(name) {
        Ok(name) => format!("{list}[{name}]"),
        Err(_) => format!("{list}[{at}]"),
    }
}

fn twice<'a>(names: &mut BTreeSet<&'a str>, name: &'a str, path: &str, faults: &mut Vec<Fault>) {
    if !names.insert(name) && faults.len() < FAULTS_MAX {
        faults.push(Fault::new(format!("{path}.name"), format!("{name:?} is given twice")));
    }
}

fn backend_at(given: &v1::Backend, at: &str, faults: &mut Vec<Fault>) -> Option<Backend> {
    let mut read = Reader { at: at.to_owned(), faults };
    let name = read.ok("name", Name::new(&given.name));
    let url = match given.url.is_empty() {
        true => {
            read.fault("url", "missing: http or https, host and port");
            None
        }
        false => read.ok("url", BaseUrl::new(&given.url)),
    };
    let kind = read.ok("kind", kind(given.kind)).flatten();
    if given.max_concurrency > SLOTS_MAX {
        read.fault("max_concurrency", format!("{} is not allowed: 0 to {SLOTS_MAX}", given.max_concurrency));
    }
    if given.max_loaded_models > LOADED_MAX {
        let problem = format!("{} is not allowed: 0 to {LOADED_MAX}", given.max_loaded_models);
        read.fault("max_loaded_models", problem);
    }
    let priority = read.within("priority", given.priority);
    let credential = read.ok("credential", credential(&given.credential)).flatten();
    read.text("ca_file", &given.ca_file);
    let mut dialects = Vec::new();
    for number in &given.dialects {
        match dialect(*number) {
            Some(dialect) if !dialects.contains(&dialect) => dialects.push(dialect),
            Some(_) => {}
            None => read.fault("dialects", format!("{number} is no dialect")),
        }
    }
    dialects.sort_unstable();
    Some(Backend {
        name: name?,
        url: url?,
        kind,
        max_concurrency: given.max_concurrency,
        priority,
        max_input_tokens: given.max_input_tokens,
        max_loaded_models: given.max_loaded_models,
        credential,
        ca_file: (!given.ca_file.is_empty()).then(|| given.ca_file.clone()),
        draining: given.draining,
        dialects,
    })
}

fn kind(number: i32) -> Result<Option<Kind>, String> {
    match v1::Kind::try_from(number) {
        Ok(v1::Kind::Unspecified) => Ok(None),
        Ok(v1::Kind::Ollama) => Ok(Some(Kind::Ollama)),
        Ok(v1::Kind::LmStudio) => Ok(Some(Kind::LmStudio)),
        Ok(v1::Kind::Llamacpp) => Ok(Some(Kind::Llamacpp)),
        Ok(v1::Kind::Vllm) => Ok(Some(Kind::Vllm)),
        Ok(v1::Kind::Sglang) => Ok(Some(Kind::Sglang)),
        Ok(v1::Kind::Openai) => Ok(Some(Kind::Openai)),
        Ok(v1::Kind::Anthropic) => Ok(Some(Kind::Anthropic)),
        Ok(v1::Kind::Gemini) => Ok(Some(Kind::Gemini)),
        Err(_) => Err(format!("{number} is no kind")),
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

/// The value is never repeated: it may be the secret itself, given by mistake.
fn credential(given: &str) -> Result<Option<Credential>, &'static str> {
    const RULE: &str = "not allowed: \"env:NAME\" or \"file:/absolute/path\", never the secret itself";
    if given.is_empty() {
        return Ok(None);
    }
    if given.len() > TEXT_BYTES_MAX || given.chars().any(char::is_control) {
        return Err(RULE);
    }
    match given.split_once(':') {
        Some(("env", name))
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
        {
            Ok(Some(Credential::Env(name.to_owned())))
        }
        Some(("file", path)) if path.starts_with('/') => Ok(Some(Credential::File(path.to_owned()))),
        _ => Err(RULE),
    }
}

fn route_at(given: &v1::Route, at: &str, faults: &mut Vec<Fault>) -> Option<Route> {
    let mut read = Reader { at: at.to_owned(), faults };
    let name = read.ok("name", Name::new(&given.name));
    let mut pattern = None;
    let matcher = match &given.r#match {
        None => {
            read.fault("exact", "exactly one of exact and pattern is needed");
            None
        }
        Some(v1::route::Match::Exact(exact)) => {
            read.text("exact", exact);
            if exact.is_empty() {
                read.fault("exact", "an empty name is not allowed");
            }
            Some(Matcher::Exact(exact.clone()))
        }
        Some(v1::route::Match::Pattern(text)) => {
            pattern = read.ok("pattern", Pattern::new(text));
            Some(Matcher::Pattern(text.clone()))
        }
    };
    let precedence = read.within("precedence", given.precedence);
    if given.targets.is_empty() || given.targets.len() > TARGETS_MAX {
        let problem = match given.targets.len() {
            0 => "at least one is needed: a model, a backend or both".to_owned(),
            many => format!("{many} are too many: at most {TARGETS_MAX}"),
        };
        read.fault("targets", problem);
    }
    let mut targets = Vec::new();
    for (at, one) in given.targets.iter().take(TARGETS_MAX).enumerate() {
        targets.extend(target(&mut read, at, one, pattern.as_ref(), matcher.as_ref()));
    }
    if !given.targets.is_empty() && given.targets.iter().all(|target| target.weight == Some(0)) {
        read.fault("targets", "every weight is 0: one at least must be more");
    }
    let deadlines = deadlines(&mut read, &given.deadlines.unwrap_or_default());
    let policy = read.ok("policy", policy(given.policy)).flatten();
    let class = read.ok("class", class(given.class)).flatten();
    Some(Route { name: name?, matcher: matcher?, precedence, targets, deadlines, policy, class })
}

fn policy(number: i32) -> Result<Option<Policy>, String> {
    match v1::Policy::try_from(number) {
        Ok(v1::Policy::Unspecified) => Ok(None),
        Ok(v1::Policy::CacheAffine) => Ok(Some(Policy::CacheAffine)),
        Ok(v1::Policy::Priority) => Ok(Some(Policy::Priority)),
        Ok(v1::Policy::RoundRobin) => Ok(Some(Policy::RoundRobin)),
        Ok(v1::Policy::Weighted) => Ok(Some(Policy::Weighted)),
        Ok(v1::Policy::LeastBusy) => Ok(Some(Policy::LeastBusy)),
        Ok(v1::Policy::LowestLatency) => Ok(Some(Policy::LowestLatency)),
        Ok(v1::Policy::TokenAware) => Ok(Some(Policy::TokenAware)),
        Ok(v1::Policy::LongWaits) => Ok(Some(Policy::LongWaits)),
        Err(_) => Err(format!("{number} is no policy")),
    }
}

fn class(number: i32) -> Result<Option<Class>, String> {
    match v1::Class::try_from(number) {
        Ok(v1::Class::Unspecified) => Ok(None),
        Ok(v1::Class::Interactive) => Ok(Some(Class::Interactive)),
        Ok(v1::Class::Normal) => Ok(Some(Class::Normal)),
        Ok(v1::Class::Batch) => Ok(Some(Class::Batch)),
        Err(_) => Err(format!("{number} is no class")),
    }
}

fn deadlines(read: &mut Reader<'_>, given: &v1::Deadlines) -> Deadlines {
    let mut one = |field: &str, span: &Option<proto::Duration>, bounds| {
        read.span(&format!("deadlines.{field}"), span.as_ref(), bounds)
    };
    Deadlines {
        connect_ms: one("connect", &given.connect, Deadlines::CONNECT_MS),
        first_token_ms: one("first_token", &given.first_token, Deadlines::FIRST_TOKEN_MS),
        between_tokens_ms: one("between_tokens", &given.between_tokens, Deadlines::BETWEEN_TOKENS_MS),
        total_ms: one("total", &given.total, Deadlines::TOTAL_MS),
    }
}

/// Milliseconds as seconds, without idle zeros.
fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn target(
    read: &mut Reader<'_>,
    at: usize,
    given: &v1::Target,
    pattern: Option<&Pattern>,
    matcher: Option<&Matcher>,
) -> Option<Target> {
    let field = |name: &str| format!("targets[{at}].{name}");
    read.text(&field("model"), &given.model);
    match matcher {
        Some(Matcher::Pattern(_)) => {
            let check = pattern.map_or(Ok(()), |pattern| pattern.check_template(&given.model));
            read.ok(&field("model"), check);
        }
        // Without a pattern nothing is captured: the text is the name.
        Some(Matcher::Exact(_)) | None => {}
    }
    let backend = match given.backend.is_empty() {
        true => None,
        false => Some(read.ok(&field("backend"), Name::new(&given.backend))?),
    };
    if let Some(weight) = given.weight.filter(|weight| *weight > WEIGHT_MAX) {
        read.fault(&field("weight"), format!("{weight} is not allowed: 0 to {WEIGHT_MAX}"));
    }
    Some(Target { model: given.model.clone(), backend, weight: given.weight })
}
