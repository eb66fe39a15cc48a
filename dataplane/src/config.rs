//! What this data plane serves by: one immutable snapshot behind one pointer.

use std::{collections::BTreeMap, sync::Arc};

use sched::{BackendId, Fleet, Health};
use wire::Dialect;

use crate::{provider::Base, route::Table};

mod backoff;
mod beat;
pub mod file;
pub mod follow;
pub mod identity;
pub mod keep;
mod load;
pub mod parse;
mod planes;
mod tuning;

pub use backoff::chance;
pub use parse::Parser;
pub use planes::{Lead, Plane, Planes};

/// Numbers a snapshot: compared within a lineage by (epoch, seq), which only ever grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Drawn when the control plane's store was made; empty for a hand-written file.
    pub lineage: String,
    /// Starts of the control plane.
    pub epoch: u64,
    /// Snapshots within the epoch.
    pub seq: u64,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lineage = self.lineage.get(..8).unwrap_or(&self.lineage);
        write!(f, "{lineage}/{}.{}", self.epoch, self.seq)
    }
}

/// What to do with a snapshot of version `offered` while serving `current`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Newer: take it.
    Forward,
    /// The same: nothing to do.
    Same,
    /// Older than what is served.
    Backward,
    /// From another store.
    Foreign,
}

impl Version {
    /// How `offered` stands to this one.
    #[must_use]
    pub fn order(&self, offered: &Self) -> Order {
        if self.lineage != offered.lineage {
            return Order::Foreign;
        }
        match (offered.epoch, offered.seq).cmp(&(self.epoch, self.seq)) {
            std::cmp::Ordering::Greater => Order::Forward,
            std::cmp::Ordering::Equal => Order::Same,
            std::cmp::Ordering::Less => Order::Backward,
        }
    }
}

/// What a backend is, as far as forwarding cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not known: treated as any OpenAI-compatible server.
    Unknown,
    /// Ollama.
    Ollama,
    /// LM Studio.
    LmStudio,
    /// llama.cpp.
    Llamacpp,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Any OpenAI-compatible server.
    Openai,
    /// Any Anthropic-compatible server.
    Anthropic,
    /// Any Gemini-compatible server.
    Gemini,
}

/// One backend of a snapshot.
#[derive(Debug)]
pub struct Backend {
    /// Stable for its name as long as this process lives.
    pub id: BackendId,
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Where it is, and what authority vouches for it.
    pub base: Arc<Base>,
    /// The secret to present, if one is configured.
    pub credential: Option<Secret>,
    /// Dialects that it speaks.
    pub dialects: Vec<Dialect>,
    /// Models that it serves.
    pub models: Vec<Model>,
    /// What the control plane says of it; unhealthy as well without its credential.
    pub health: Health,
    /// Takes no new work.
    pub draining: bool,
    /// Why it is or was not healthy, in words.
    pub reason: String,
    /// Higher first.
    pub priority: i32,
}

impl Backend {
    /// Whether new requests may go to it, as far as its breaker has no say.
    #[must_use]
    pub fn up(&self) -> bool {
        self.health != Health::Unhealthy && !self.draining
    }
}

/// A model at a backend.
#[derive(Debug)]
pub struct Model {
    /// Its name there.
    pub name: Arc<str>,
    /// Loaded in memory now.
    pub resident: bool,
    /// Tokens, where told.
    pub context_length: Option<u32>,
    /// As told by the server.
    pub capabilities: Vec<String>,
}

/// A secret that never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The complete picture that requests are served by.
#[derive(Debug)]
pub struct Snapshot {
    /// Its number.
    pub version: Version,
    /// The revision of the configuration that it was planned from.
    pub revision: u64,
    /// In order of name.
    pub backends: Vec<Arc<Backend>>,
    /// Names to candidates.
    pub table: Table,
    /// The same fleet as the scheduling core sees it.
    pub fleet: Arc<Fleet>,
    /// Of what `table` was made of, health apart: equal ones lead every name to the same.
    pub routing: u64,
    /// Where a backend stands in `backends`.
    pub places: BTreeMap<BackendId, usize>,
    /// What prompts are hashed with: of this installation alone.
    pub salt: u64,
    /// The data planes and who leads.
    pub planes: Planes,
    /// This data plane is to take no new work.
    pub draining: bool,
    /// Slots are shared with other data planes.
    pub shared: bool,
    /// The control plane has this data plane for dead: others may have what it held.
    pub denied: bool,
}

impl Snapshot {
    /// A snapshot of nothing: what is served before the first one arrives.
    #[must_use]
    pub fn empty(queue_max: usize) -> Self {
        Self {
            version: Version::default(),
            revision: 0,
            backends: Vec::new(),
            table: Table::default(),
            fleet: Arc::new(Fleet { owner: true, queue_max, ..Fleet::default() }),
            routing: 0,
            places: BTreeMap::new(),
            salt: 0,
            planes: Planes::default(),
            draining: false,
            shared: false,
            denied: false,
        }
    }

    /// The fleet for one that asks nobody: where slots are shared it has none of them.
    #[must_use]
    pub fn fleet_alone(&self) -> Arc<Fleet> {
        match self.shared {
            true => Arc::new(Fleet { owner: false, ..Fleet::clone(&self.fleet) }),
            false => self.fleet.clone(),
        }
    }

    /// All backends by number.
    pub fn names(&self) -> impl Iterator<Item = (BackendId, String)> {
        self.backends.iter().map(|backend| (backend.id, backend.name.to_string()))
    }

    /// The backend with this id.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<&Arc<Backend>> {
        self.places.get(&id).and_then(|place| self.backends.get(*place))
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Version};

    fn version(lineage: &str, epoch: u64, seq: u64) -> Version {
        Version { lineage: lineage.to_owned(), epoch, seq }
    }

    #[test]
    fn versions_only_go_forward() {
        let current = version("a", 2, 5);
        for (offered, order) in [
            (version("a", 2, 6), Order::Forward),
            (version("a", 3, 1), Order::Forward),
            (version("a", 2, 5), Order::Same),
            (version("a", 2, 4), Order::Backward),
            (version("a", 1, 9), Order::Backward),
            (version("b", 9, 9), Order::Foreign),
        ] {
            assert_eq!(current.order(&offered), order, "{offered}");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", super::Secret("sk-1".to_owned())), "***");
    }
}
