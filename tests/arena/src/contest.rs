//! Which policies meet in which worlds.

use crate::engine::{Player, Run, Setting, run};
use crate::fleet::{self, Machine};
use crate::placer::Blind;
use crate::product::{Options, Product};
use crate::rivals::{Pick, Queue};
use crate::score::Score;
use crate::work::{Agentic, Source};

/// A fleet under a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// As `fleet::named` knows it.
    pub fleet: String,
    /// The kind of work.
    pub work: String,
    /// How much of it; 1 is what the kind of work was made for.
    pub load: f64,
}

/// Where the published figures of the rule come from.
pub const SCENES: [&str; 11] = [
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
];

/// Share of the sessions of `agentic2` that use another model.
const SECOND_MODEL: f64 = 0.3;

impl Scene {
    /// `fleet:work:load`; `None` when there is no such.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let scene = Scene {
            fleet: parts.next()?.to_owned(),
            work: parts.next()?.to_owned(),
            load: parts.next()?.parse().ok().filter(|load: &f64| load.is_finite() && *load > 0.0)?,
        };
        let known = parts.next().is_none() && fleet::named(&scene.fleet).is_some();
        (known && scene.source(1).is_some()).then_some(scene)
    }

    /// As `parse` reads it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}:{}", self.fleet, self.work, self.load)
    }

    fn setting(&self) -> Option<Setting> {
        Some(Setting::new(fleet::named(&self.fleet)?))
    }

    fn source(&self, seed: u64) -> Option<Box<dyn Source>> {
        Some(match self.work.as_str() {
            "agentic" => Box::new(Agentic::mixed(seed, self.load, 0.0)),
            "agentic2" => Box::new(Agentic::mixed(seed, self.load, SECOND_MODEL)),
            _ => return None,
        })
    }

    /// One run; `None` when the scene or the policy does not exist.
    #[must_use]
    pub fn play(&self, policy: &str, seed: u64) -> Option<Run> {
        let setting = self.setting()?;
        let mut player = player(policy, seed, &setting.machines)?;
        Some(run(&setting, &mut *self.source(seed)?, &mut *player))
    }

    /// The mean over seeds from 1.
    #[must_use]
    pub fn score(&self, policy: &str, seeds: u64) -> Option<Score> {
        let scores: Option<Vec<Score>> =
            (1..=seeds).map(|seed| Some(Score::of(&self.play(policy, seed)?))).collect();
        Some(Score::mean(&scores?))
    }
}

/// The policies, the product's own first.
pub const POLICIES: [&str; 5] =
    ["product", "product ranked", "round robin", "least connections", "priority FIFO"];

fn player(policy: &str, seed: u64, machines: &[Machine]) -> Option<Box<dyn Player>> {
    let product = |options| Box::new(Blind::new(Product::new(machines, options)));
    Some(match policy {
        "product" => product(Options { seed, ranked: false }),
        "product ranked" => product(Options { seed, ranked: true }),
        "round robin" => Box::new(Queue::new(Pick::RoundRobin)),
        "least connections" => Box::new(Queue::new(Pick::LeastConnections)),
        "priority FIFO" => Box::new(Queue::new(Pick::Priority)),
        _ => return None,
    })
}
