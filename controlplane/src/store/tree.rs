//! The form of records: a version byte, then JSON. A record that cannot be read refuses the start.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    engine::{Batch, EngineFault, Identity, JOURNAL_LINES_MAX, Loaded, Records, Tree},
    finding,
};
use crate::{
    fleet::Registry,
    model::{Backend, Desired, Record, Route, Scheduling, Written, change::Outcome},
};

/// The form that this version writes.
const FORM: u8 = 1;
/// A record has at most this many bytes: larger values are what the engine does not sync.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Where the lineage is.
pub const LINEAGE: &[u8] = b"lineage";
const EPOCH: &[u8] = b"epoch";
const SALT: &[u8] = b"salt";
/// Where the revision is.
pub const REVISION: &[u8] = b"revision";
const LEAD: &[u8] = b"lead";
const TERM: &[u8] = b"term";
const SCHEDULING: &[u8] = b"scheduling";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<T> {
    revision: u64,
    value: T,
}

/// One line of the journal: what a revision changed, and when.
#[derive(Serialize)]
struct Line<'a> {
    at_ms: u64,
    backends: Vec<(&'a str, &'static str)>,
    routes: Vec<(&'a str, &'static str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduling: Option<&'static str>,
}

/// A record of a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![FORM];
    serde_json::to_writer(&mut bytes, value).expect("records have a JSON form");
    bytes
}

/// The value of a record; `what` names it in a fault.
pub fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, EngineFault> {
    match bytes.split_first() {
        Some((&FORM, json)) => {
            serde_json::from_slice(json).map_err(|problem| EngineFault::Record(format!("{what}: {problem}")))
        }
        Some((form, _)) => {
            Err(EngineFault::Record(format!("{what}: form {form}, this version reads {FORM}")))
        }
        None => Err(EngineFault::Record(format!("{what}: empty"))),
    }
}

/// What the records say; `fresh` is the identity of a store that has none. The epoch is one further.
pub fn load(records: Records, fresh: Identity) -> Result<(Loaded, Batch), EngineFault> {
    let meta = |key: &[u8]| records.meta.iter().find(|(there, _)| there == key).map(|(_, value)| value);
    let identity = match meta(LINEAGE) {
        None if records.backends.is_empty() && records.routes.is_empty() => Identity { epoch: 1, ..fresh },
        None => return Err(EngineFault::Record("lineage: missing beside other records".to_owned())),
        Some(lineage) => {
            let missing = |what: &str| EngineFault::Record(format!("{what}: missing"));
            let epoch: u64 = decode("epoch", meta(EPOCH).ok_or_else(|| missing("epoch"))?)?;
            Identity {
                lineage: decode("lineage", lineage)?,
                epoch: epoch + 1,
                salt: decode("salt", meta(SALT).ok_or_else(|| missing("salt"))?)?,
            }
        }
    };
    let revision = meta(REVISION).map_or(Ok(0), |bytes| decode("revision", bytes))?;
    let mut registry = Registry {
        lead: meta(LEAD).map(|bytes| decode("lead", bytes)).transpose()?,
        term: meta(TERM).map_or(Ok(0), |bytes| decode("term", bytes))?,
        ..Registry::default()
    };
    for (key, bytes) in &records.planes {
        let row = decode(&label("data plane", key), bytes)?;
        registry.rows.insert(String::from_utf8_lossy(key).into_owned(), Arc::new(row));
    }
    let mut desired = Desired { revision, ..Desired::default() };
    for (key, bytes) in &records.backends {
        let record: Stored<Backend> = decode(&label("backend", key), bytes)?;
        let (name, value) = (record.value.name.clone(), record.value);
        desired.backends.insert(name, Arc::new(Record { revision: record.revision, value }));
    }
    for (key, bytes) in &records.routes {
        let record: Stored<Route> = decode(&label("route", key), bytes)?;
        let (name, value) = (record.value.name.clone(), record.value);
        desired.routes.insert(name, Arc::new(Record { revision: record.revision, value }));
    }
    if let Some(bytes) = meta(SCHEDULING) {
        let record: Stored<Scheduling> = decode("scheduling", bytes)?;
        desired.scheduling = Record { revision: record.revision, value: record.value };
    }
    let start = Batch(vec![
        (Tree::Meta, LINEAGE.to_vec(), Some(encode(&identity.lineage))),
        (Tree::Meta, SALT.to_vec(), Some(encode(&identity.salt))),
        (Tree::Meta, EPOCH.to_vec(), Some(encode(&identity.epoch))),
    ]);
    let seen = finding::load(&records.findings, &desired);
    Ok((Loaded { identity, desired, registry, seen }, start))
}

fn label(what: &str, key: &[u8]) -> String {
    format!("{what} {:?}", String::from_utf8_lossy(key))
}

/// Adds to `batch` what a change wrote: its records, the revision, its journal line, and the end of an old line.
pub fn put(batch: &mut Batch, desired: &Desired, written: &Written, at_ms: u64) -> Result<(), EngineFault> {
    if !written.changed() {
        return Ok(());
    }
    let from = batch.0.len();
    for (name, outcome) in &written.backends {
        if *outcome != Outcome::Unchanged {
            let value = desired.backends.get(name).map(|record| stored(record));
            batch.0.push((Tree::Backends, name.as_str().as_bytes().to_vec(), value));
        }
    }
    for (name, outcome) in &written.routes {
        if *outcome != Outcome::Unchanged {
            let value = desired.routes.get(name).map(|record| stored(record));
            batch.0.push((Tree::Routes, name.as_str().as_bytes().to_vec(), value));
        }
    }
    if written.scheduling.is_some_and(|outcome| outcome != Outcome::Unchanged) {
        batch.0.push((Tree::Meta, SCHEDULING.to_vec(), Some(stored(&desired.scheduling))));
    }
    if let Some((_, key, _)) = batch.0[from..].iter().find(|(_, _, value)| too_large(value.as_ref())) {
        let problem = format!("{:?} takes more than {RECORD_BYTES_MAX} bytes", String::from_utf8_lossy(key));
        batch.0.truncate(from);
        return Err(EngineFault::Write(problem));
    }
    batch.0.push((Tree::Meta, REVISION.to_vec(), Some(encode(&written.revision))));
    batch.0.push((Tree::Journal, written.revision.to_be_bytes().to_vec(), Some(line(written, at_ms))));
    if let Some(old) = written.revision.checked_sub(JOURNAL_LINES_MAX) {
        batch.0.push((Tree::Journal, old.to_be_bytes().to_vec(), None));
    }
    Ok(())
}

/// Adds to `batch` what differs between two registries.
pub fn put_registry(batch: &mut Batch, before: &Registry, after: &Registry) {
    let gone = before.rows.keys().filter(|id| !after.rows.contains_key(*id)).map(|id| (id, None));
    let differs = |id: &&String| before.rows.get(*id) != after.rows.get(*id);
    let there =
        after.rows.keys().filter(differs).map(|id| (id, after.rows.get(id).map(|row| encode(&**row))));
    batch.0.extend(gone.chain(there).map(|(id, row)| (Tree::Planes, id.as_bytes().to_vec(), row)));
    if before.lead != after.lead {
        batch.0.push((Tree::Meta, LEAD.to_vec(), after.lead.as_ref().map(encode)));
    }
    if before.term != after.term {
        batch.0.push((Tree::Meta, TERM.to_vec(), Some(encode(&after.term))));
    }
}

fn stored<T: Serialize + Clone>(record: &Record<T>) -> Vec<u8> {
    encode(&Stored { revision: record.revision, value: record.value.clone() })
}

fn too_large(value: Option<&Vec<u8>>) -> bool {
    value.is_some_and(|bytes| bytes.len() > RECORD_BYTES_MAX)
}

/// At most as many names as an Apply has; cut where the line would become too large.
fn line(written: &Written, at_ms: u64) -> Vec<u8> {
    const NAMED_MAX: usize = 256;
    let word = |outcome: &Outcome| match outcome {
        Outcome::Created => "created",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Deleted => "deleted",
    };
    let backends = written.backends.iter().take(NAMED_MAX);
    let routes = written.routes.iter().take(NAMED_MAX);
    encode(&Line {
        at_ms,
        backends: backends.map(|(name, outcome)| (name.as_str(), word(outcome))).collect(),
        routes: routes.map(|(name, outcome)| (name.as_str(), word(outcome))).collect(),
        scheduling: written.scheduling.as_ref().map(word),
    })
}
