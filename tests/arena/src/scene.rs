//! A fleet under a load: where policies meet.

use crate::cache::Shape;
use crate::engine::{Player, Run, Setting, run};
use crate::fleet::{self, Machine};
use crate::work::{Agentic, Azure, Burst, Families, Mooncake, Source, TraceFault};

/// Which servers, which work, how much of it, and what is unlike the rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    name: String,
    machines: Vec<Machine>,
    work: Work,
    load: f64,
    loss_every: Option<f64>,
}

/// The kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Agents of every role; 1 is 19 of them.
    Agentic,
    /// The same, of which a third asks for another model.
    Agentic2,
    /// Coding agents with sub-agents; 1 is 6 families of four.
    Families,
    /// Agents of every role, each with a key of its own; 1 is 64 keys.
    Keys,
    /// People with a long document each; 1 is 12 of them.
    Documents,
    /// `Agentic`, and at half an hour two hundred requests of another key at once.
    Burst,
    /// A share of the sessions of Mooncake's synthetic trace.
    Synth,
    /// A share of the arrivals of Azure's code assistant.
    Azure,
}

const WORKS: [(&str, Work); 8] = [
    ("agentic", Work::Agentic),
    ("agentic2", Work::Agentic2),
    ("families", Work::Families),
    ("keys", Work::Keys),
    ("documents", Work::Documents),
    ("burst", Work::Burst),
    ("synth", Work::Synth),
    ("azure", Work::Azure),
];

/// The worlds of the rule's published figures.
pub const PUBLISHED: [&str; 13] = [
    "hetero6:agentic:0.25",
    "hetero6:agentic:0.5",
    "hetero6:agentic:1",
    "hetero6:agentic:1.25",
    "single8:agentic:0.6",
    "single4:agentic:0.25",
    "single4:agentic:0.4",
    "vllm4:agentic:0.75",
    "vllm4:agentic:1.5",
    "swap4:agentic2:0.25",
    "swap4:agentic2:0.5",
    "hetero6:synth:0.03",
    "hetero6:synth:0.06",
];

/// Worlds of our own beside them.
pub const FURTHER: [&str; 5] = [
    "hetero6:families:2",
    "hetero6:keys:0.5",
    "hetero6:documents:0.7",
    "hetero6:burst:0.5",
    "hetero6:azure:0.5",
];

/// Share of the sessions of `agentic2` that use another model.
const SECOND_MODEL: f64 = 0.3;

impl Scene {
    /// `FLEET:WORK:LOAD`, and after it any of `:loss=S`, one server loses its cache every so many seconds, and
    /// `:ram=TOKENS`, what servers with a cache a slot keep in host memory. `None` when there is no such.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(':');
        let machines = fleet::named(parts.next()?)?;
        let work = parts.next()?;
        let (_, work) = *WORKS.iter().find(|(known, _)| *known == work)?;
        let load = amount(parts.next()?)?;
        let mut scene = Scene { name: name.to_owned(), machines, work, load, loss_every: None };
        for part in parts {
            match part.split_once('=')? {
                ("loss", every) => scene.loss_every = Some(amount(every)?),
                ("ram", tokens) => scene.remember(tokens.parse().ok()?),
                _ => return None,
            }
        }
        Some(scene)
    }

    /// As `parse` read it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The servers.
    #[must_use]
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Whether it needs the public traces.
    #[must_use]
    pub fn replays(&self) -> bool {
        matches!(self.work, Work::Synth | Work::Azure)
    }

    /// For how long, and under which conditions.
    #[must_use]
    pub fn setting(&self) -> Setting {
        let setting = Setting { loss_every: self.loss_every, ..Setting::new(self.machines.clone()) };
        let (horizon, warmup) = match self.work {
            Work::Synth => (1100.0, 150.0),
            Work::Azure => (3600.0, 400.0),
            Work::Burst => (5400.0, 900.0),
            _ => return setting,
        };
        Setting { horizon, warmup, ..setting }
    }

    /// The work, which repeats from its seed.
    ///
    /// # Errors
    /// When a trace is not there.
    pub fn source(&self, seed: u64) -> Result<Box<dyn Source>, TraceFault> {
        let load = self.load;
        Ok(match self.work {
            Work::Agentic => Box::new(Agentic::mixed(seed, load, 0.0)),
            Work::Agentic2 => Box::new(Agentic::mixed(seed, load, SECOND_MODEL)),
            Work::Families => Box::new(Families::new(seed, load)),
            Work::Keys => Box::new(Agentic::keys(seed, load)),
            Work::Documents => Box::new(Agentic::readers(seed, load)),
            Work::Burst => Box::new(Burst::over(Agentic::mixed(seed, load, 0.0), seed)),
            Work::Synth => Box::new(Mooncake::load(load, seed)?),
            Work::Azure => Box::new(Azure::load(load, seed)?),
        })
    }

    /// One run.
    ///
    /// # Errors
    /// When a trace is not there.
    pub fn play(&self, player: &mut dyn Player, seed: u64) -> Result<Run, TraceFault> {
        Ok(run(&self.setting(), &mut *self.source(seed)?, player))
    }

    fn remember(&mut self, tokens: u64) {
        for machine in &mut self.machines {
            if let Shape::Slots { ram } = &mut machine.cache {
                *ram = tokens;
            }
        }
    }
}

fn amount(text: &str) -> Option<f64> {
    text.parse().ok().filter(|amount: &f64| amount.is_finite() && *amount > 0.0)
}
