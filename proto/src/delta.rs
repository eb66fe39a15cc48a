//! Deltas onto snapshots: what a delta leads to is the very snapshot that would have come whole.

use crate::v1;

/// Why a delta does not fit. Each is a sentence for the operator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeltaFault {
    /// It is for another snapshot.
    #[error("the delta does not begin at the snapshot that is served")]
    Base,
    /// It changes what is not there.
    #[error("the delta changes {what} {name:?}, which the snapshot does not have")]
    Missing {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
}

/// The snapshot that `delta` leads to.
///
/// # Errors
/// [`DeltaFault`] when it leads nowhere from here.
pub fn apply(snapshot: &v1::Snapshot, delta: v1::Delta) -> Result<v1::Snapshot, DeltaFault> {
    if snapshot.version != delta.base {
        return Err(DeltaFault::Base);
    }
    let mut next = snapshot.clone();
    (next.version, next.revision) = (delta.version, delta.revision);
    for name in &delta.backends_gone {
        let place = backend(&next.backends, name).map_err(|_| missing("backend", name))?;
        next.backends.remove(place);
    }
    for row in delta.health {
        let place = backend(&next.backends, &row.name).map_err(|_| missing("backend", &row.name))?;
        (next.backends[place].health, next.backends[place].reason) = (row.health, row.reason);
    }
    for row in delta.backends {
        match backend(&next.backends, &row.name) {
            Ok(place) => next.backends[place] = row,
            Err(place) => next.backends.insert(place, row),
        }
    }
    for name in &delta.routes_gone {
        let place = next.routes.iter().position(|route| route.name == *name);
        next.routes.remove(place.ok_or_else(|| missing("route", name))?);
    }
    if !delta.routes.is_empty() {
        next.routes.retain(|route| delta.routes.iter().all(|new| new.name != route.name));
        next.routes.extend(delta.routes);
        next.routes.sort_by(|a, b| order(a).cmp(&order(b)));
    }
    next.scheduling = delta.scheduling.or(next.scheduling);
    if delta.lead.is_some() {
        (next.lead, next.owner) = (delta.lead, delta.owner);
    }
    for id in &delta.planes_gone {
        let place = plane(&next.planes, id).map_err(|_| missing("data plane", id))?;
        next.planes.remove(place);
    }
    for row in delta.planes {
        match plane(&next.planes, &row.plane_id) {
            Ok(place) => next.planes[place] = row,
            Err(place) => next.planes.insert(place, row),
        }
    }
    Ok(next)
}

fn missing(what: &'static str, name: &str) -> DeltaFault {
    DeltaFault::Missing { what, name: name.to_owned() }
}

fn backend(rows: &[v1::SnapshotBackend], name: &str) -> Result<usize, usize> {
    rows.binary_search_by(|row| row.name.as_str().cmp(name))
}

fn plane(rows: &[v1::Registered], id: &str) -> Result<usize, usize> {
    rows.binary_search_by(|row| row.plane_id.as_str().cmp(id))
}

/// As `Snapshot.routes` is ordered.
fn order(route: &v1::Route) -> (bool, i64, &str) {
    match route.r#match {
        Some(v1::route::Match::Pattern(_)) => (true, -i64::from(route.precedence), &route.name),
        _ => (false, 0, &route.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(seq: u64) -> Option<v1::Version> {
        Some(v1::Version { lineage: "l".to_owned(), epoch: 1, seq })
    }

    fn snapshot() -> v1::Snapshot {
        let named =
            |name: &str| v1::SnapshotBackend { name: name.to_owned(), ..v1::SnapshotBackend::default() };
        let backends = ["a", "c"].map(named).to_vec();
        v1::Snapshot { version: version(1), owner: true, backends, ..v1::Snapshot::default() }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let fits = || v1::Delta { base: version(1), version: version(2), ..v1::Delta::default() };
        let refused = |delta| apply(&snapshot(), delta).unwrap_err().to_string();
        assert!(refused(v1::Delta { base: version(2), ..fits() }).contains("does not begin"));
        let gone = v1::Delta { backends_gone: vec!["b".to_owned()], ..fits() };
        assert!(refused(gone).contains("backend \"b\""));
        let health = vec![v1::BackendHealth { name: "b".to_owned(), ..v1::BackendHealth::default() }];
        assert!(refused(v1::Delta { health, ..fits() }).contains("backend \"b\""));
        assert!(refused(v1::Delta { routes_gone: vec!["r".to_owned()], ..fits() }).contains("route \"r\""));
        assert!(
            refused(v1::Delta { planes_gone: vec!["p".to_owned()], ..fits() }).contains("data plane \"p\"")
        );
        let next = apply(&snapshot(), fits()).unwrap();
        assert_eq!(next, v1::Snapshot { version: version(2), ..snapshot() });
    }

    #[test]
    fn who_leads_says_who_owns() {
        let lead = Some(v1::Lead { plane_id: "p".to_owned(), term: 3, ..v1::Lead::default() });
        let delta = v1::Delta { base: version(1), lead: lead.clone(), ..v1::Delta::default() };
        let next = apply(&snapshot(), delta).unwrap();
        assert_eq!((next.owner, next.lead), (false, lead));
    }
}
