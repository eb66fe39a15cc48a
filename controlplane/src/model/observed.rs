//! What has been observed of a backend.

use wire::Dialect;

use super::{Backend, Kind};

/// What was found of a backend, which was asked as it was configured then.
pub type Found = (Backend, Observed);

/// Models of one backend at most; the rest is cut and said so.
pub const MODELS_MAX: usize = 4096;
/// A reason has at most this many characters.
pub const REASON_CHARS_MAX: usize = 400;

/// Whether a backend takes work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Health {
    /// Not probed yet.
    #[default]
    Unknown,
    /// The last probe was good, or the bad ones are too few.
    Healthy,
    /// Probes fail; the reason is said.
    Unhealthy,
}

/// A model that a backend serves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model {
    /// As the backend calls it.
    pub name: String,
    /// Loaded in memory now.
    pub resident: bool,
    /// Tokens; 0: not told.
    pub context_length: u32,
    /// As told: "completion", "embedding", "tools", "vision", "thinking".
    pub capabilities: Vec<String>,
}

/// What probing found of one backend. The last finding stays while the backend is down.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// After hysteresis.
    pub health: Health,
    /// Why it is not healthy, in words.
    pub reason: String,
    /// What it is; `None`: not recognised yet.
    pub kind: Option<Kind>,
    /// In order, each once.
    pub dialects: Vec<Dialect>,
    /// In order of name, each once.
    pub models: Vec<Model>,
    /// The most models that were in its memory at the same time, as far as this process saw.
    pub loaded_most: u32,
    /// Slots as the server tells; 0: it does not.
    pub slots: u32,
    /// Tokens that its prompt cache holds, as it tells; 0: it does not.
    pub cache_tokens: u32,
    /// Requests that it had at work or waiting at the last probe; `None`: it does not tell.
    pub requests: Option<u32>,
    /// The server's version, may be empty.
    pub version: String,
    /// Milliseconds since the Unix epoch; 0: never.
    pub probed_at_ms: u64,
    /// Round trip of the last good probe, microseconds.
    pub probe_rtt_us: u64,
}

impl Observed {
    /// What outlives the process: what it is and serves, not how it is or what is loaded.
    #[must_use]
    pub fn lasting(&self) -> Observed {
        let model = |model: &Model| Model { resident: false, ..model.clone() };
        Observed {
            kind: self.kind,
            dialects: self.dialects.clone(),
            models: self.models.iter().map(model).collect(),
            slots: self.slots,
            version: self.version.clone(),
            ..Observed::default()
        }
    }

    /// Whether both are equal save for when and how fast they were seen, and how busy.
    #[must_use]
    pub fn same(&self, other: &Observed) -> bool {
        self.health == other.health
            && self.reason == other.reason
            && self.kind == other.kind
            && self.dialects == other.dialects
            && self.models == other.models
            && self.loaded_most == other.loaded_most
            && self.slots == other.slots
            && self.cache_tokens == other.cache_tokens
            && self.version == other.version
    }
}
