//! What was found of a backend, as a record: so that a restart knows what a server serves that is down just then.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::sleep};
use wire::Dialect;

use super::{
    commit::Store,
    engine::{Batch, Tree},
    tree::{self, RECORD_BYTES_MAX},
};
use crate::model::{Desired, Kind, Model, Name, Observed, dialects, observed::Found};

/// Between two attempts while the store takes no writes.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Kept {
    kind: Option<Kind>,
    #[serde(with = "dialects")]
    dialects: Vec<Dialect>,
    /// Name, context length, capabilities.
    models: Vec<(String, u32, Vec<String>)>,
    slots: u32,
    version: String,
}

/// Adds a finding to `batch`. Models are left out from the end where the record would be too large.
pub fn put(batch: &mut Batch, name: &Name, seen: &Observed) {
    let model = |model: &Model| (model.name.clone(), model.context_length, model.capabilities.clone());
    let mut kept = Kept {
        kind: seen.kind,
        dialects: seen.dialects.clone(),
        models: seen.models.iter().map(model).collect(),
        slots: seen.slots,
        version: seen.version.clone(),
    };
    let mut record = tree::encode(&kept);
    while record.len() > RECORD_BYTES_MAX && !kept.models.is_empty() {
        kept.models.truncate(kept.models.len() * RECORD_BYTES_MAX / record.len());
        record = tree::encode(&kept);
    }
    batch.0.push((Tree::Findings, name.as_str().as_bytes().to_vec(), Some(record)));
}

/// Removes from `batch`'s store what was found of a backend that is gone or is another now.
pub fn forget(batch: &mut Batch, name: &Name, before: &Desired, after: &Desired) {
    let pair = before.backends.get(name).zip(after.backends.get(name));
    if !pair.is_some_and(|(before, after)| after.value.probes_as(&before.value)) {
        batch.0.push((Tree::Findings, name.as_str().as_bytes().to_vec(), None));
    }
}

/// What the records say of the backends that there are. One that cannot be read is left out: probing finds it anew.
pub fn load(records: &[(Vec<u8>, Vec<u8>)], desired: &Desired) -> BTreeMap<Name, Arc<Observed>> {
    let mut seen = BTreeMap::new();
    for (key, bytes) in records {
        let name = std::str::from_utf8(key).ok().and_then(|key| desired.backends.get_key_value(key));
        let Some((name, _)) = name else { continue };
        match tree::decode::<Kept>("finding", bytes) {
            Ok(kept) => drop(seen.insert(name.clone(), Arc::new(observed(kept)))),
            Err(fault) => tracing::warn!(backend = %name, %fault, "what was found of it is forgotten"),
        }
    }
    seen
}

fn observed(kept: Kept) -> Observed {
    let model =
        |(name, context_length, capabilities)| Model { name, context_length, capabilities, resident: false };
    Observed {
        kind: kept.kind,
        dialects: kept.dialects,
        models: kept.models.into_iter().map(model).collect(),
        slots: kept.slots,
        version: kept.version,
        ..Observed::default()
    }
}

/// Keeps what comes, the newest of each backend, until nobody sends any more.
pub async fn keep(store: Arc<Store>, mut found: mpsc::Receiver<Found>) {
    let mut waiting: BTreeMap<Name, Found> = BTreeMap::new();
    let mut open = true;
    while open {
        let again = if waiting.is_empty() { Duration::MAX } else { AGAIN_AFTER };
        tokio::select! {
            one = found.recv() => match one {
                Some(one) => drop(waiting.insert(one.0.name.clone(), one)),
                None => open = false,
            },
            () = sleep(again) => {}
        }
        while let Ok(one) = found.try_recv() {
            waiting.insert(one.0.name.clone(), one);
        }
        if waiting.is_empty() {
            continue;
        }
        match store.keep(waiting.values().cloned().collect()).await {
            Ok(()) => waiting.clear(),
            Err(fault) => tracing::debug!(%fault, "what was found is not kept yet"),
        }
    }
}
