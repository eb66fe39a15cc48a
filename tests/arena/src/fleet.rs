//! The servers of a world. Rates and sizes are estimates of such machines, not measurements.

use crate::cache::Shape;

/// Which engine a server runs; it decides what its answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tells cached tokens.
    Vllm,
    /// Tells cached tokens and how long reading and writing took.
    Llama,
    /// Tells how long loading, reading and writing took, and nothing of its cache.
    Ollama,
    /// Tells the lengths alone.
    LmStudio,
}

/// One server.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// For reports.
    pub name: &'static str,
    /// Its engine.
    pub kind: Kind,
    /// Requests at a time.
    pub slots: usize,
    /// Prompt tokens a second on an empty context, with nothing else to do.
    pub prefill_tps: f64,
    /// Generated tokens a second of a single stream.
    pub decode_tps: f64,
    /// How much slower each further stream makes generation.
    pub crowding: f64,
    /// How it keeps what it has read.
    pub cache: Shape,
    /// Higher is preferred by rules that go by it.
    pub priority: i32,
    /// The longest prompt that it takes, in tokens.
    pub input_max: u32,
    /// A bit for each model that it serves.
    pub models: u8,
    /// Seconds to load a model, where only one is resident at a time.
    pub load_s: Option<f64>,
}

impl Machine {
    fn new(
        name: &'static str,
        kind: Kind,
        slots: usize,
        rates: (f64, f64),
        cache: Shape,
        priority: i32,
    ) -> Self {
        let crowding = if kind == Kind::Vllm { 0.12 } else { 0.35 };
        Machine {
            name,
            kind,
            slots,
            prefill_tps: rates.0,
            decode_tps: rates.1,
            crowding,
            cache,
            priority,
            input_max: 131_072,
            models: 0b11,
            load_s: None,
        }
    }

    /// Whether it has the model.
    #[must_use]
    pub fn serves(&self, model: u8) -> bool {
        self.models & (1 << model) != 0
    }

    /// Seconds to read so many tokens behind so many that are there, alone: attention makes it slower with depth.
    #[must_use]
    pub fn prefill_s(&self, uncached: f64, cached: f64) -> f64 {
        uncached / self.prefill_tps * (1.0 + (cached + uncached / 2.0) / HALF_DEPTH)
    }
}

/// The depth of context at which the prefill rate has halved, in tokens.
const HALF_DEPTH: f64 = 80_000.0;
const NO_RAM: Shape = Shape::Slots { ram: 0 };
const VLLM_POOL: Shape = Shape::Pool { capacity: 180_000 };

/// The fleets that `named` knows.
pub const FLEETS: [&str; 5] = ["hetero6", "single4", "single8", "vllm4", "swap4"];

/// A fleet by its name; `None` when there is no such.
#[must_use]
pub fn named(name: &str) -> Option<Vec<Machine>> {
    let equal = |slots, priority| {
        move |name| Machine::new(name, Kind::Ollama, slots, (1500.0, 45.0), NO_RAM, priority)
    };
    Some(match name {
        "hetero6" => hetero6(),
        "single4" => ["a", "b", "c", "d"].map(equal(1, 5)).into(),
        "single8" => single8(),
        "vllm4" => ["a", "b", "c", "d"]
            .map(|name| Machine::new(name, Kind::Vllm, 4, (3500.0, 60.0), VLLM_POOL, 5))
            .into(),
        "swap4" => ["a", "b", "c", "d"]
            .map(equal(2, 5))
            .map(|machine| Machine { load_s: Some(15.0), ..machine })
            .into(),
        _ => return None,
    })
}

/// Six unlike machines with eleven slots.
fn hetero6() -> Vec<Machine> {
    let ram = |ram| Shape::Slots { ram };
    let strix = Machine::new("llamacpp-strix", Kind::Llama, 1, (350.0, 22.0), ram(100_000), 2);
    vec![
        Machine::new("vllm-2x3090", Kind::Vllm, 4, (3500.0, 60.0), VLLM_POOL, 10),
        Machine::new("llamacpp-4090", Kind::Llama, 2, (2500.0, 70.0), ram(150_000), 8),
        Machine::new("ollama-3090", Kind::Ollama, 2, (1400.0, 50.0), NO_RAM, 6),
        Machine::new("lmstudio-m3ultra", Kind::LmStudio, 1, (900.0, 45.0), NO_RAM, 5),
        Machine::new("ollama-m2max", Kind::Ollama, 1, (450.0, 28.0), NO_RAM, 3),
        Machine { input_max: 32_768, ..strix },
    ]
}

/// Eight machines with one slot each, of which the last are slow.
fn single8() -> Vec<Machine> {
    let speeds =
        [(1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.5, 0.7), (0.5, 0.7), (0.3, 0.5), (0.3, 0.5)];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let machine = |((name, (prefill, decode)), priority)| {
        Machine::new(name, Kind::Ollama, 1, (1500.0 * prefill, 45.0 * decode), NO_RAM, priority)
    };
    names.into_iter().zip(speeds).zip((1..=8).rev()).map(machine).collect()
}
