//! Pictures as messages to data planes: whole, and what differs between two.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use proto::v1;

use super::Shown;
use crate::{
    fleet::Registry,
    model::{Name, Record, Route, render},
    plan::{Picture, Planned},
    store::Identity,
};

/// A delta has at most this many backends and routes, or half of all, where that is more: the whole is smaller then.
const CHANGED_MAX: usize = 64;

fn version(identity: &Identity, seq: u64) -> Option<v1::Version> {
    Some(v1::Version { lineage: identity.lineage.clone(), epoch: identity.epoch, seq })
}

/// A whole snapshot, as one sees it who does not lead.
pub fn snapshot(identity: &Identity, seq: u64, shown: &Shown, silence_ms: u64) -> v1::Snapshot {
    let Shown { picture, lead, planes } = shown;
    v1::Snapshot {
        version: version(identity, seq),
        revision: picture.revision,
        owner: false,
        backends: picture.backends.iter().map(|planned| backend(planned)).collect(),
        routes: picture.routes.iter().map(|record| render::route(record)).collect(),
        salt: identity.salt.to_vec(),
        scheduling: scheduling(picture),
        lead: lead.clone(),
        planes: planes.values().cloned().collect(),
        reclaim_silent_after_ms: silence_ms,
    }
}

/// What leads from one to the next, `base` to `base + 1`; `None`: too much of it differs.
pub fn delta(identity: &Identity, base: u64, was: &Shown, is: &Shown) -> Option<v1::Delta> {
    let mut delta = v1::Delta {
        base: version(identity, base),
        version: version(identity, base + 1),
        revision: is.picture.revision,
        ..v1::Delta::default()
    };
    backends(&was.picture, &is.picture, &mut delta);
    if was.picture.routes != is.picture.routes {
        routes(&was.picture, &is.picture, &mut delta);
    }
    if was.picture.scheduling != is.picture.scheduling {
        delta.scheduling = scheduling(&is.picture);
    }
    // Who may start anything is said with the lead alone.
    if was.lead != is.lead || shares(was) != shares(is) {
        delta.lead.clone_from(&is.lead);
    }
    if was.planes != is.planes {
        planes_changed(was, is, &mut delta);
    }
    let changed = delta.backends.len() + delta.backends_gone.len() + delta.health.len();
    let changed = changed + delta.routes.len() + delta.routes_gone.len();
    let all = is.picture.backends.len() + is.picture.routes.len();
    (changed <= CHANGED_MAX.max(all / 2)).then_some(delta)
}

/// Whether those who share permits work beside the lead.
fn shares(shown: &Shown) -> bool {
    let lead = shown.lead.as_ref().and_then(|lead| shown.planes.get(&lead.plane_id));
    lead.is_some_and(|row| row.permits)
}

fn planes_changed(was: &Shown, is: &Shown, delta: &mut v1::Delta) {
    let changed = |(id, plane): &(&String, &v1::Registered)| was.planes.get(*id) != Some(*plane);
    delta.planes = is.planes.iter().filter(changed).map(|(_, plane)| plane.clone()).collect();
    delta.planes_gone = was.planes.keys().filter(|id| !is.planes.contains_key(*id)).cloned().collect();
}

fn backends(was: &Picture, is: &Picture, delta: &mut v1::Delta) {
    let (mut old, mut new) = (was.backends.iter().peekable(), is.backends.iter().peekable());
    loop {
        if let (Some(was), Some(is)) = (old.peek(), new.peek())
            && Arc::ptr_eq(was, is)
        {
            old.next();
            new.next();
            continue;
        }
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        let gone = if order.is_le() { old.next() } else { None };
        let there = if order.is_ge() { new.next() } else { None };
        match (gone, there) {
            (Some(was), Some(is)) if was == is => {}
            (Some(was), Some(is)) if health_alone(was, is) => delta.health.push(v1::BackendHealth {
                name: is.name.to_string(),
                health: render::health(is.health) as i32,
                reason: is.reason.clone(),
            }),
            (_, Some(is)) => delta.backends.push(backend(is)),
            (Some(was), None) => delta.backends_gone.push(was.name.to_string()),
            (None, None) => return,
        }
    }
}

fn health_alone(was: &Planned, is: &Planned) -> bool {
    let aligned = Planned { health: is.health, reason: is.reason.clone(), ..was.clone() };
    aligned == *is
}

fn routes(was: &Picture, is: &Picture, delta: &mut v1::Delta) {
    let by_name = |picture: &Picture| -> BTreeMap<Name, Arc<Record<Route>>> {
        picture.routes.iter().map(|record| (record.value.name.clone(), Arc::clone(record))).collect()
    };
    let (old, new) = (by_name(was), by_name(is));
    let changed = new.iter().filter(|(name, record)| old.get(*name) != Some(*record));
    delta.routes = changed.map(|(_, record)| render::route(record)).collect();
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    delta.routes_gone = gone.map(ToString::to_string).collect();
}

fn scheduling(picture: &Picture) -> Option<v1::Scheduling> {
    Some(render::scheduling(&picture.scheduling)).filter(|set| set.revision > 0)
}

/// Who leads, as data planes are told.
pub fn lead(registry: &Registry) -> Option<v1::Lead> {
    let lead = registry.lead.as_ref()?;
    let row = registry.rows.get(&lead.plane);
    Some(v1::Lead {
        plane_id: lead.plane.clone(),
        incarnation: lead.incarnation,
        peer: row.map(|row| row.peer.clone()).unwrap_or_default(),
        term: lead.term,
    })
}

/// Every registered data plane by id, as data planes are told.
pub fn planes(registry: &Registry) -> BTreeMap<String, v1::Registered> {
    let one = |(id, row): (&String, &Arc<_>)| {
        let row: &crate::fleet::registry::Row = row;
        let plane = v1::Registered {
            plane_id: id.clone(),
            incarnation: row.incarnation,
            peer: row.peer.clone(),
            dead_through: row.dead_through,
            draining: row.draining,
            permits: row.permits,
        };
        (id.clone(), plane)
    };
    registry.rows.iter().map(one).collect()
}

fn backend(planned: &Planned) -> v1::SnapshotBackend {
    v1::SnapshotBackend {
        name: planned.name.to_string(),
        url: planned.url.to_string(),
        kind: render::kind(planned.kind) as i32,
        dialects: render::dialects(&planned.dialects),
        models: render::models(&planned.models),
        slots: planned.slots,
        slots_assumed: planned.slots_assumed,
        priority: planned.priority,
        max_input_tokens: planned.max_input_tokens,
        credential: planned.credential.as_ref().map(ToString::to_string).unwrap_or_default(),
        ca_file: planned.ca_file.clone().unwrap_or_default(),
        draining: planned.draining,
        health: render::health(planned.health) as i32,
        reason: planned.reason.clone(),
        max_loaded_models: planned.max_loaded_models,
        cache_tokens: planned.cache_tokens,
    }
}
