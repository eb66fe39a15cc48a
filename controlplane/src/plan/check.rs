//! Lints a plan before anyone gets it. A fault here is a fault of ours.

use std::{collections::BTreeSet, sync::Arc};

use wire::Pattern;

use super::{Picture, Planned};
use crate::model::{
    BACKENDS_MAX, BaseUrl, Matcher, Name, ROUTES_MAX, Route, SLOTS_MAX, TARGETS_MAX, WEIGHT_MAX,
    observed::MODELS_MAX,
};

/// Faults that are listed at most.
const FAULTS_MAX: usize = 100;

/// Every fault of a plan, a sentence each; none: it may be published. What it shares with `sound`, a plan that has none,
/// is not looked at again by itself.
#[must_use]
pub fn check(picture: &Picture, sound: &Picture) -> Vec<String> {
    let mut faults = Vec::new();
    if picture.backends.len() > BACKENDS_MAX {
        faults.push(format!("{} backends, at most {BACKENDS_MAX}", picture.backends.len()));
    }
    if picture.routes.len() > ROUTES_MAX {
        faults.push(format!("{} routes, at most {ROUTES_MAX}", picture.routes.len()));
    }
    let mut checked = sound.backends.iter().peekable();
    for (at, planned) in picture.backends.iter().enumerate() {
        if at > 0 && picture.backends[at - 1].name >= planned.name {
            faults.push(format!("backend {} is there twice, or out of order", planned.name));
        }
        if checked.next_if(|one| Arc::ptr_eq(one, planned)).is_some() {
            continue;
        }
        while checked.next_if(|one| one.name < planned.name).is_some() {}
        if checked.next_if(|one| Arc::ptr_eq(one, planned)).is_none() {
            backend(planned, &mut faults);
        }
    }
    let exists = |name: &Name| picture.backends.binary_search_by(|one| one.name.cmp(name)).is_ok();
    let known: BTreeSet<_> = sound.routes.iter().map(Arc::as_ptr).collect();
    let mut routes = BTreeSet::new();
    for record in &picture.routes {
        if !routes.insert(&record.value.name) {
            faults.push(format!("route {} is there twice", record.value.name));
        }
        let own = if known.contains(&Arc::as_ptr(record)) { Vec::new() } else { route(&record.value) };
        let problems = own.into_iter().chain(missing(&record.value, &exists));
        faults.extend(problems.map(|problem| format!("route {}: {problem}", record.value.name)));
    }
    faults.truncate(FAULTS_MAX);
    faults
}

fn backend(backend: &Planned, faults: &mut Vec<String>) {
    let name = &backend.name;
    if !(1..=SLOTS_MAX).contains(&backend.slots) {
        faults.push(format!("backend {name} has {} slots: 1 to {SLOTS_MAX}", backend.slots));
    }
    if let Err(fault) = BaseUrl::new(backend.url.as_str()) {
        faults.push(format!("backend {name}: {fault}"));
    }
    if backend.models.len() > MODELS_MAX {
        faults.push(format!("backend {name} has {} models: at most {MODELS_MAX}", backend.models.len()));
    }
    if !backend.models.is_sorted_by(|a, b| a.name < b.name) {
        faults.push(format!("backend {name}: its models are not in order, each once"));
    }
}

fn route(route: &Route) -> Vec<String> {
    let mut faults = Vec::new();
    if !(1..=TARGETS_MAX).contains(&route.targets.len()) {
        faults.push(format!("{} targets: 1 to {TARGETS_MAX}", route.targets.len()));
    }
    if !route.targets.is_empty() && route.targets.iter().all(|target| target.weight == Some(0)) {
        faults.push("every weight is 0".to_owned());
    }
    if let Some(weight) =
        route.targets.iter().filter_map(|target| target.weight).find(|one| *one > WEIGHT_MAX)
    {
        faults.push(format!("a weight of {weight}: at most {WEIGHT_MAX}"));
    }
    match &route.matcher {
        Matcher::Exact(exact) if exact.is_empty() => faults.push("it matches the empty name".to_owned()),
        Matcher::Exact(_) => {}
        Matcher::Pattern(pattern) => match Pattern::new(pattern) {
            Ok(pattern) => {
                let checked = route.targets.iter().map(|target| pattern.check_template(&target.model));
                faults.extend(checked.filter_map(Result::err).map(|fault| fault.to_string()));
            }
            Err(fault) => faults.push(fault.to_string()),
        },
    }
    faults
}

fn missing<'a>(route: &'a Route, exists: &'a dyn Fn(&Name) -> bool) -> impl Iterator<Item = String> + 'a {
    let named = route.targets.iter().filter_map(|target| target.backend.as_ref());
    named.filter(|name| !exists(name)).map(|name| format!("backend {name} does not exist"))
}
