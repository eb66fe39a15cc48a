//! Validated resources: what the operator wants and what has been observed.

pub mod change;
pub mod deadlines;
pub mod desired;
pub mod fault;
pub mod name;
pub mod observed;
pub mod parse;
pub mod policy;
pub mod render;
pub mod scheduling;
pub mod url;

use serde::{Deserialize, Serialize};
use wire::Dialect;

pub use change::{Change, Written};
pub use deadlines::Deadlines;
pub use desired::{Desired, Record};
pub use fault::{Fault, Refusal};
pub use name::Name;
pub use observed::{Health, Model, Observed};
pub use policy::{Class, Policy, WEIGHT_MAX};
pub use scheduling::Scheduling;
pub use url::BaseUrl;

/// Backends that a configuration holds at most.
pub const BACKENDS_MAX: usize = 4096;
/// Routes that a configuration holds at most.
pub const ROUTES_MAX: usize = 4096;
/// Targets of one route at most.
pub const TARGETS_MAX: usize = 64;
/// Slots of one backend at most.
pub const SLOTS_MAX: u32 = 4096;
/// Models in the memory of one backend at most.
pub const LOADED_MAX: u32 = 1000;
/// Priorities and precedences lie within plus and minus this.
pub const PRIORITY_MAX: i32 = 1000;
/// Model names, credentials and file names have at most this many bytes.
pub const TEXT_BYTES_MAX: usize = 512;

/// What a server is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Ollama.
    Ollama,
    /// LM Studio.
    LmStudio,
    /// llama.cpp's llama-server.
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

impl Kind {
    /// The name used in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Ollama => "Ollama",
            Kind::LmStudio => "LM Studio",
            Kind::Llamacpp => "llama.cpp",
            Kind::Vllm => "vLLM",
            Kind::Sglang => "SGLang",
            Kind::Openai => "OpenAI-compatible",
            Kind::Anthropic => "Anthropic-compatible",
            Kind::Gemini => "Gemini-compatible",
        }
    }
}

/// Where the secret towards a backend is read. Never the secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// An environment variable.
    Env(String),
    /// A file; its text without surrounding white space.
    File(String),
}

impl std::fmt::Display for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Env(name) => write!(f, "env:{name}"),
            Credential::File(path) => write!(f, "file:{path}"),
        }
    }
}

/// A backend as the operator wants it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Its name; never changes.
    pub name: Name,
    /// Where it is.
    pub url: BaseUrl,
    /// What it is; `None`: found by probing.
    pub kind: Option<Kind>,
    /// Slots; 0: as the server tells, else the default of its kind.
    pub max_concurrency: u32,
    /// Higher is chosen first among equals.
    pub priority: i32,
    /// Prompt tokens at most; 0: no limit.
    pub max_input_tokens: u32,
    /// Models in its memory at the same time; 0: as found.
    #[serde(default)]
    pub max_loaded_models: u32,
    /// Where its secret is read.
    pub credential: Option<Credential>,
    /// PEM file of its authority.
    pub ca_file: Option<String>,
    /// Takes no new work.
    pub draining: bool,
    /// Dialects to serve instead of those found; empty: as found.
    #[serde(with = "dialects")]
    pub dialects: Vec<Dialect>,
}

impl Backend {
    /// Whether a probe of the one tells what a probe of the other would.
    #[must_use]
    pub fn probes_as(&self, other: &Backend) -> bool {
        self.url == other.url
            && self.kind == other.kind
            && self.credential == other.credential
            && self.ca_file == other.ca_file
            && self.dialects.is_empty() == other.dialects.is_empty()
    }
}

/// What a requested model name is compared with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matcher {
    /// The name itself.
    Exact(String),
    /// A regular expression, known to compile.
    Pattern(String),
}

/// One way that a route offers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The model name at the backend, with `$1` or `${name}`; empty: the requested name.
    pub model: String,
    /// Only this backend; `None`: every one that serves the model.
    pub backend: Option<Name>,
    /// The part of the requests that go here, 0 to [`WEIGHT_MAX`]; `None`: 1 where another target has one.
    #[serde(default)]
    pub weight: Option<u32>,
}

/// A rule from a requested model name to models on backends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name.
    pub name: Name,
    /// What it matches.
    pub matcher: Matcher,
    /// Among patterns the higher is tried first.
    pub precedence: i32,
    /// In order, 1 to [`TARGETS_MAX`].
    pub targets: Vec<Target>,
    /// How long a backend may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// By which rule its requests are placed; `None`: the default of the data planes.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// The most urgent that its requests are; `None`: normal.
    #[serde(default)]
    pub class: Option<Class>,
}

/// A configuration as given: the form of files and of Apply.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Each with the revision that it demands; 0: none.
    pub backends: Vec<(Backend, u64)>,
    /// Each with the revision that it demands; 0: none.
    pub routes: Vec<(Route, u64)>,
    /// With the revision that it demands; `None`: as it is.
    pub scheduling: Option<(Scheduling, u64)>,
}

/// Dialects are stored by name, so that the order of an enum is no part of the format.
pub mod dialects {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use wire::Dialect;

    /// Their names.
    ///
    /// # Errors
    /// As the serializer.
    pub fn serialize<S: Serializer>(dialects: &[Dialect], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(dialects.iter().map(|dialect| dialect.name()))
    }

    /// From their names.
    ///
    /// # Errors
    /// When one is unknown.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Dialect>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let dialect = |name: &String| {
            Dialect::parse(name).ok_or_else(|| D::Error::custom(format!("unknown dialect {name:?}")))
        };
        names.iter().map(dialect).collect()
    }
}

#[cfg(test)]
mod tests;
