//! Pictures as messages to data planes.

use proto::v1::{self, FollowDown, follow_down};

use crate::{
    model::{Health, Name, render},
    plan::{Picture, Planned},
    store::Identity,
};

fn version(identity: &Identity, seq: u64) -> Option<v1::Version> {
    Some(v1::Version { lineage: identity.lineage.clone(), epoch: identity.epoch, seq })
}

/// A whole snapshot.
pub fn snapshot(identity: &Identity, seq: u64, picture: &Picture, owner: bool) -> FollowDown {
    let snapshot = v1::Snapshot {
        version: version(identity, seq),
        revision: picture.revision,
        owner,
        backends: picture.backends.iter().map(backend).collect(),
        routes: picture.routes.iter().map(render::route).collect(),
        salt: identity.salt.to_vec(),
        scheduling: Some(render::scheduling(&picture.scheduling)).filter(|set| set.revision > 0),
    };
    FollowDown { message: Some(follow_down::Message::Snapshot(snapshot)) }
}

/// A change of health alone.
pub fn health(identity: &Identity, base: u64, seq: u64, flips: &[(&Name, Health, &str)]) -> FollowDown {
    let one = |(name, health, reason): &(&Name, Health, &str)| v1::BackendHealth {
        name: name.to_string(),
        health: render::health(*health) as i32,
        reason: (*reason).to_owned(),
    };
    let change = v1::HealthChange {
        base: version(identity, base),
        version: version(identity, seq),
        backends: flips.iter().map(one).collect(),
    };
    FollowDown { message: Some(follow_down::Message::Health(change)) }
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
