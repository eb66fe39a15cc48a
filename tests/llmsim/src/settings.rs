//! What a simulated server is and how fast it works.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use crate::fault::Fault;

/// The server that is imitated: its paths, bodies, streams, errors and units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ollama: `/api/*`, `/v1/*` and `/v1/messages`.
    Ollama,
    /// LM Studio: `/api/v0/models`, `/api/v1/models` and `/v1/*`.
    LmStudio,
    /// llama.cpp's `llama-server`.
    Llamacpp,
    /// vLLM's OpenAI server.
    Vllm,
    /// The hosted OpenAI API.
    Openai,
    /// The hosted Anthropic API.
    Anthropic,
    /// The hosted Gemini API.
    Gemini,
}

impl Kind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Kind; 7] = [
        Kind::Ollama,
        Kind::LmStudio,
        Kind::Llamacpp,
        Kind::Vllm,
        Kind::Openai,
        Kind::Anthropic,
        Kind::Gemini,
    ];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ollama => "ollama",
            Kind::LmStudio => "lmstudio",
            Kind::Llamacpp => "llamacpp",
            Kind::Vllm => "vllm",
            Kind::Openai => "openai",
            Kind::Anthropic => "anthropic",
            Kind::Gemini => "gemini",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No such kind.
#[derive(Debug, thiserror::Error)]
#[error("no kind is called {0:?}; there are ollama, lmstudio, llamacpp, vllm, openai, anthropic, gemini")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.to_ascii_lowercase().replace(['-', '_', '.'], "");
        Kind::ALL.into_iter().find(|kind| kind.name() == plain).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// Everything that shapes one simulated server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is imitated.
    pub kind: Kind,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The models it serves. llama.cpp serves the first and answers any name with it.
    pub models: Vec<String>,
    /// Requests the engine works on at once; at least 1.
    pub slots: u32,
    /// Prompt tokens read a second; 0 or not finite takes no time.
    pub prefill_tps: f64,
    /// Tokens written a second and slot; 0 or not finite takes no time.
    pub decode_tps: f64,
    /// How long an answer would be if nothing limited it, in tokens. A request's own maximum below
    /// it cuts the answer, with the finish reason of its dialect; one above it changes nothing.
    pub output_tokens: u32,
    /// How long the engine works on after a client left.
    pub abort_lag: Duration,
    /// How long a model takes to load, where [`Settings::loads`]: at its first use, and again when another took its
    /// place. llama.cpp with one model: how long after the start every path answers 503. The others serve when they
    /// listen.
    pub load_time: Duration,
    /// Models in memory at a time; another takes the place of the one that was not used for longest. 0: all. llama.cpp
    /// is a router where this is set.
    pub models_max: u32,
    /// A model that takes the place of another waits for nobody: what runs on that ends with a broken connection.
    /// Otherwise it waits until the server is quiet, and who comes later waits behind it, as Ollama has it.
    pub evict_kills: bool,
    /// Keep prompts as servers of the kind do, and read what is cached in no time. llama.cpp: one sequence a slot, by its
    /// own choice of slot, and others in host memory. Ollama, LM Studio: one sequence a slot. The others: a pool of
    /// blocks.
    pub cache: bool,
    /// llama.cpp: tokens that host memory has room for.
    pub cache_ram: u32,
    /// Tokens that a pool has room for.
    pub kv_tokens: u32,
    /// vLLM: tell how much of a prompt was cached (`--enable-prompt-tokens-details`).
    pub prompt_details: bool,
    /// With k answers being written, each comes at a speed of 1 / (1 + this × (k − 1)).
    pub decode_drag: f64,
    /// Refuse work above `slots` with the kind's own 503 / 429. Otherwise it waits inside, in order
    /// of arrival, as real servers have it.
    pub strict_slots: bool,
    /// A fault that is there from the start.
    pub first_fault: Option<Fault>,
    /// When set, a request without it is a 401 in the shape of the kind.
    pub api_key: Option<String>,
    /// Shown by `/_sim/stats`; also the response header `x-sim-name` where not empty.
    pub name: String,
    /// Prompt and answer together may have this many tokens.
    pub context_length: u32,
    /// Requests kept in [`crate::Stats::requests`]; the oldest are dropped above it.
    pub requests_kept: u32,
}

impl Settings {
    /// Whether models are loaded when they are asked for.
    pub fn loads(&self) -> bool {
        matches!(self.kind, Kind::Ollama | Kind::LmStudio) || self.routes()
    }

    /// Whether it is llama.cpp with several models, which it loads and unloads.
    pub fn routes(&self) -> bool {
        self.kind == Kind::Llamacpp && self.models_max > 0
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            kind: Kind::Openai,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            models: vec!["sim".to_owned()],
            slots: 1,
            prefill_tps: 10_000.0,
            decode_tps: 200.0,
            output_tokens: 16,
            abort_lag: Duration::ZERO,
            load_time: Duration::ZERO,
            models_max: 0,
            evict_kills: false,
            cache: false,
            cache_ram: 65_536,
            kv_tokens: 200_000,
            prompt_details: false,
            decode_drag: 0.0,
            strict_slots: false,
            first_fault: None,
            api_key: None,
            name: String::new(),
            context_length: 32_768,
            requests_kept: 4096,
        }
    }
}
