//! Changes of the configuration: compare-and-set, references and bounds, without any I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    BACKENDS_MAX, Backend, Config, Desired, Fault, Matcher, Name, ROUTES_MAX, Record, Refusal, Route,
    Scheduling,
};

/// Routes that a refusal names at most.
const NAMED_MAX: usize = 8;

/// A wish to change the configuration. `expected` is the demanded revision; 0: none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new backend.
    CreateBackend(Backend),
    /// Replaces a backend.
    UpdateBackend(Backend, u64),
    /// Removes a backend that no route names.
    DeleteBackend(String, u64),
    /// Takes new work or not.
    Drain(String, bool, u64),
    /// A new route.
    CreateRoute(Route),
    /// Replaces a route.
    UpdateRoute(Route, u64),
    /// Removes a route.
    DeleteRoute(String, u64),
    /// Replaces the figures by which requests are placed.
    UpdateScheduling(Scheduling, u64),
    /// Creates or replaces all of them.
    Apply(Config),
}

/// What a change did to one resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It is different.
    Updated,
    /// It was so already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// What a change wrote: the revision after it and each resource that it named.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// The revision of the configuration after the change.
    pub revision: u64,
    /// The backends that the change named.
    pub backends: Vec<(Name, Outcome)>,
    /// The routes that the change named.
    pub routes: Vec<(Name, Outcome)>,
    /// Where the change named the figures by which requests are placed.
    pub scheduling: Option<Outcome>,
}

impl Written {
    /// Whether anything is different.
    #[must_use]
    pub fn changed(&self) -> bool {
        let named = self.backends.iter().chain(&self.routes).map(|(_, outcome)| *outcome);
        named.chain(self.scheduling).any(|outcome| outcome != Outcome::Unchanged)
    }
}

/// One kind of resource, so that compare-and-set is written once.
trait Resource: Clone + PartialEq {
    const WHAT: &'static str;
    fn name(&self) -> &Name;
}

impl Resource for Backend {
    const WHAT: &'static str = "backend";
    fn name(&self) -> &Name {
        &self.name
    }
}

impl Resource for Route {
    const WHAT: &'static str = "route";
    fn name(&self) -> &Name {
        &self.name
    }
}

type Records<T> = BTreeMap<Name, Arc<Record<T>>>;

/// What a change writes, and the configuration after it.
pub(super) fn made(desired: &Desired, change: &Change) -> Result<(Written, Desired), Refusal> {
    let mut next = desired.clone();
    let mut written = Written { revision: desired.revision + 1, ..Written::default() };
    let revision = written.revision;
    match change {
        Change::CreateBackend(backend) => {
            written.backends.push(create(&mut next.backends, backend, revision)?);
        }
        Change::UpdateBackend(backend, expected) => {
            written.backends.push(update(&mut next.backends, backend, *expected, revision)?);
        }
        Change::DeleteBackend(name, expected) => {
            written.backends.push(delete(&mut next.backends, name, *expected)?);
            unused(&next, &written.backends[0].0)?;
        }
        Change::Drain(name, draining, expected) => {
            let mut backend = found(&next.backends, name, *expected)?.value.clone();
            backend.draining = *draining;
            written.backends.push(update(&mut next.backends, &backend, *expected, revision)?);
        }
        Change::CreateRoute(route) => written.routes.push(create(&mut next.routes, route, revision)?),
        Change::UpdateRoute(route, expected) => {
            written.routes.push(update(&mut next.routes, route, *expected, revision)?);
        }
        Change::DeleteRoute(name, expected) => {
            written.routes.push(delete(&mut next.routes, name, *expected)?);
        }
        Change::UpdateScheduling(scheduling, expected) => {
            written.scheduling = Some(set(&mut next.scheduling, scheduling, *expected, revision)?);
        }
        Change::Apply(config) => apply(&mut next, config, &mut written)?,
    }
    alone(desired, &next, &written)?;
    let named = written.routes.iter().map(|(name, _)| name);
    let faults = whole(&next, &named.collect::<Vec<_>>());
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    if written.changed() {
        next.revision = revision;
    } else {
        written.revision = desired.revision;
    }
    Ok((written, next))
}

fn apply(next: &mut Desired, config: &Config, written: &mut Written) -> Result<(), Refusal> {
    for (backend, expected) in &config.backends {
        written.backends.push(put(&mut next.backends, backend, *expected, written.revision)?);
    }
    for (route, expected) in &config.routes {
        written.routes.push(put(&mut next.routes, route, *expected, written.revision)?);
    }
    if let Some((scheduling, expected)) = &config.scheduling {
        written.scheduling = Some(set(&mut next.scheduling, scheduling, *expected, written.revision)?);
    }
    Ok(())
}

/// Replaces what there is one of.
fn set(
    record: &mut Record<Scheduling>,
    value: &Scheduling,
    expected: u64,
    revision: u64,
) -> Result<Outcome, Refusal> {
    if expected != 0 && expected != record.revision {
        let name = Name::new("scheduling").expect("the word is a name");
        return Err(Refusal::Stale { what: "resource", name, expected, current: record.revision });
    }
    if record.value == *value {
        return Ok(Outcome::Unchanged);
    }
    let outcome = if record.revision == 0 { Outcome::Created } else { Outcome::Updated };
    *record = Record { revision, value: *value };
    Ok(outcome)
}

fn found<'a, T: Resource>(
    records: &'a Records<T>,
    name: &str,
    expected: u64,
) -> Result<&'a Record<T>, Refusal> {
    let Some(record) = records.get(name) else {
        return Err(Refusal::Missing { what: T::WHAT, name: name.chars().take(128).collect() });
    };
    if expected != 0 && expected != record.revision {
        let (name, current) = (record.value.name().clone(), record.revision);
        return Err(Refusal::Stale { what: T::WHAT, name, expected, current });
    }
    Ok(record)
}

fn create<T: Resource>(
    records: &mut Records<T>,
    value: &T,
    revision: u64,
) -> Result<(Name, Outcome), Refusal> {
    let name = value.name().clone();
    if let Some(there) = records.get(&name) {
        return Err(Refusal::Exists { what: T::WHAT, name, revision: there.revision });
    }
    records.insert(name.clone(), Arc::new(Record { revision, value: value.clone() }));
    Ok((name, Outcome::Created))
}

fn update<T: Resource>(
    records: &mut Records<T>,
    value: &T,
    expected: u64,
    revision: u64,
) -> Result<(Name, Outcome), Refusal> {
    let name = value.name().clone();
    if found(records, name.as_str(), expected)?.value == *value {
        return Ok((name, Outcome::Unchanged));
    }
    records.insert(name.clone(), Arc::new(Record { revision, value: value.clone() }));
    Ok((name, Outcome::Updated))
}

fn put<T: Resource>(
    records: &mut Records<T>,
    value: &T,
    expected: u64,
    revision: u64,
) -> Result<(Name, Outcome), Refusal> {
    let name = value.name().clone();
    match records.contains_key(&name) {
        true => update(records, value, expected, revision),
        false if expected != 0 => Err(Refusal::Stale { what: T::WHAT, name, expected, current: 0 }),
        false => create(records, value, revision),
    }
}

fn delete<T: Resource>(
    records: &mut Records<T>,
    name: &str,
    expected: u64,
) -> Result<(Name, Outcome), Refusal> {
    let name = found(records, name, expected)?.value.name().clone();
    records.remove(&name);
    Ok((name, Outcome::Deleted))
}

fn unused(next: &Desired, name: &Name) -> Result<(), Refusal> {
    let names = |route: &Route| route.targets.iter().any(|target| target.backend.as_ref() == Some(name));
    let users = next.routes.values().filter(|record| names(&record.value));
    let routes: Vec<Name> = users.map(|record| record.value.name.clone()).take(NAMED_MAX).collect();
    match routes.is_empty() {
        true => Ok(()),
        false => Err(Refusal::InUse { name: name.clone(), routes }),
    }
}

/// Refuses a URL that is new at a backend and that another one has.
fn alone(before: &Desired, next: &Desired, written: &Written) -> Result<(), Refusal> {
    let url = |desired: &Desired, name: &Name| Some(desired.backends.get(name)?.value.url.place());
    let moved = written.backends.iter().map(|(name, _)| name);
    let moved: BTreeSet<&Name> =
        moved.filter(|name| url(next, name).is_some_and(|now| url(before, name) != Some(now))).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let mut places: BTreeMap<String, &Name> = BTreeMap::new();
    // Those that stay come first: they are the ones that have it already.
    let (new, old): (Vec<_>, Vec<_>) = next.backends.keys().partition(|name| moved.contains(name));
    for name in old.into_iter().chain(new) {
        let backend = &next.backends[name].value;
        let there = places.insert(backend.url.place(), name);
        if let Some(there) = there.filter(|_| moved.contains(name)) {
            let (there, name, url) = (there.clone(), name.clone(), backend.url.clone());
            return Err(Refusal::SameUrl { there, name, url });
        }
    }
    Ok(())
}

/// Faults of the whole that no resource shows alone. Only `changed` routes are looked at: the others were.
fn whole(next: &Desired, changed: &[&Name]) -> Vec<Fault> {
    let mut faults = Vec::new();
    if next.backends.len() > BACKENDS_MAX {
        faults.push(Fault::new("backends", format!("{}, at most {BACKENDS_MAX}", next.backends.len())));
    }
    if next.routes.len() > ROUTES_MAX {
        faults.push(Fault::new("routes", format!("{}, at most {ROUTES_MAX}", next.routes.len())));
    }
    let mut exact: BTreeMap<&str, &Name> = BTreeMap::new();
    for record in next.routes.values() {
        if let Matcher::Exact(model) = &record.value.matcher
            && let Some(first) = exact.insert(model, &record.value.name)
        {
            let path = format!("routes[{}].exact", record.value.name);
            faults.push(Fault::new(
                path,
                format!("{model:?} is matched by route {:?} already", first.as_str()),
            ));
        }
    }
    for route in changed.iter().filter_map(|name| next.routes.get(*name)) {
        for (at, target) in route.value.targets.iter().enumerate() {
            if let Some(backend) = target.backend.as_ref().filter(|name| !next.backends.contains_key(*name)) {
                let path = format!("routes[{}].targets[{at}].backend", route.value.name);
                faults.push(Fault::new(path, format!("backend {:?} does not exist", backend.as_str())));
            }
        }
    }
    faults
}
