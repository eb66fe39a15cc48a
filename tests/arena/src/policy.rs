//! Who places requests, by name.

use sched::{Span, Tuning};

use crate::books::Insight;
use crate::engine::{Player, Run, Setting, run};
use crate::fleet::Machine;
use crate::placer::Blind;
use crate::product::{Options, Product};
use crate::rivals::{Bound, Ettft, Pick, Queue, Rule, Seed, Switches};
use crate::scene::Scene;
use crate::score::Score;
use crate::work::TraceFault;

/// The product's figures with keys served in order of arrival.
fn in_order() -> Tuning {
    Tuning { fair_quantum: None, ..Tuning::default() }
}

/// One of those that take part.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What it is called in tables.
    pub name: &'static str,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Product(Options),
    /// Every answer tells everything, whatever the kind of its server.
    Candid(Options),
    /// Of a hundred answers, so many tell nothing but that they ended.
    Losing(Options, u64),
    Queue(Pick),
    /// Prompts at least this long wait for a hit, in tokens.
    Seed(u32),
    Bound(Rule),
    Ettft(Switches, Insight),
    /// No caches apart: what placement cannot beat.
    Pool,
}

impl Policy {
    /// Everyone, the product first.
    #[must_use]
    pub fn all() -> Vec<Policy> {
        let product = Options::default();
        let in_order = Options { tuning: in_order(), ..product };
        let by = |policy| Options { ranked: true, policy, ..in_order };
        let mut all = vec![
            Policy { name: "product", how: How::Product(product) },
            Policy { name: "product in order", how: How::Product(in_order) },
            Policy { name: "product ranked", how: How::Product(Options { ranked: true, ..product }) },
            Policy { name: "product candid", how: How::Candid(product) },
            Policy { name: "product long waits", how: How::Product(by(sched::Policy::LongWaits)) },
            Policy { name: "product priority", how: How::Product(by(sched::Policy::Priority)) },
            Policy { name: "product least busy", how: How::Product(by(sched::Policy::LeastBusy)) },
            Policy { name: "round robin", how: How::Queue(Pick::RoundRobin) },
            Policy { name: "least connections", how: How::Queue(Pick::LeastConnections) },
            Policy { name: "priority FIFO", how: How::Queue(Pick::Priority) },
            Policy { name: "seed", how: How::Seed(15_000) },
        ];
        let bound = [
            ("power of two", Rule::PowerOfTwo),
            ("sglang 64", Rule::Sglang { apart: 64.0 }),
            ("sglang 2", Rule::Sglang { apart: 2.0 }),
            ("LocalAI", Rule::LocalAi),
            ("CHWBL", Rule::BoundedRing),
            ("sticky", Rule::Sticky),
            ("llm-d", Rule::LlmD),
            ("Preble", Rule::Preble),
            ("Dynamo", Rule::Dynamo),
            ("ETTFT bound", Rule::Soonest),
        ];
        all.extend(bound.map(|(name, rule)| Policy { name, how: How::Bound(rule) }));
        let (rule, known) = (Switches::default(), Insight::default());
        let switched = [
            ("ETTFT", rule, known),
            ("ETTFT exact", rule, Insight { exact: true, ..known }),
            ("ETTFT oracle", rule, Insight { oracle: true, ..known }),
            ("ETTFT fair", Switches { fair: Some(60.0), ..rule }, known),
        ];
        all.extend(switched.map(|(name, rule, known)| Policy { name, how: How::Ettft(rule, known) }));
        all.push(Policy { name: "pool bound", how: How::Pool });
        all
    }

    /// The product's rule with one of its terms switched off, then the published one.
    #[must_use]
    pub fn ablations() -> Vec<Policy> {
        let (rule, known) = (Switches::default(), Insight::default());
        let still = Switches { eviction: 0.0, interference: 0.0, hold: 0.0, ..rule };
        let switched = [
            ("ETTFT no eviction", Switches { eviction: 0.0, ..rule }, known),
            ("ETTFT no interference", Switches { interference: 0.0, ..rule }, known),
            ("ETTFT never waits", Switches { waits: false, ..rule }, known),
            ("ETTFT no prediction", Switches { predicts: false, ..rule }, known),
            ("ETTFT no budget", Switches { budget: 1e9, wait_max: 1e9, ..rule }, known),
            ("ETTFT no hold", Switches { hold: 0.0, ..rule }, known),
            ("ETTFT returns not split", rule, Insight { reasons: false, ..known }),
            ("ETTFT greedy", still, known),
            ("ETTFT capacity x0.5", rule, Insight { capacity: 0.5, ..known }),
            ("ETTFT capacity x2", rule, Insight { capacity: 2.0, ..known }),
        ];
        let own = [
            ("product no eviction", Tuning { eviction_weight: 0.0, ..in_order() }),
            ("product no interference", Tuning { interference_weight: 0.0, ..in_order() }),
            ("product never waits", Tuning { wait_max: Span::ZERO, ..in_order() }),
            ("product no hold", Tuning { hold: 0.0, ..in_order() }),
        ];
        let product = Options { tuning: in_order(), ..Options::default() };
        let own = own.map(|(name, tuning)| (name, Options { tuning, ..product }));
        let affinity = ("product no affinity", Options { affinity: false, ..product });
        let own = own.into_iter().chain([affinity]);
        own.map(|(name, options)| Policy { name, how: How::Product(options) })
            .chain(switched.map(|(name, rule, known)| Policy { name, how: How::Ettft(rule, known) }))
            .collect()
    }

    /// The product with what it is told wrong or missing.
    #[must_use]
    pub fn misled() -> Vec<Policy> {
        let product = Options::default();
        let said = |capacity| How::Product(Options { capacity, ..product });
        let misled = [
            ("product capacity x0.5", said(0.5)),
            ("product capacity x2", said(2.0)),
            ("product 5 % untold", How::Losing(product, 5)),
            ("product 30 % untold", How::Losing(product, 30)),
        ];
        misled.map(|(name, how)| Policy { name, how }).into()
    }

    /// Everyone there is.
    fn known() -> impl Iterator<Item = Policy> {
        Policy::all().into_iter().chain(Policy::ablations()).chain(Policy::misled())
    }

    /// Their names.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Policy::known().map(|policy| policy.name).collect()
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Policy> {
        Policy::known().find(|policy| policy.name == name)
    }

    /// Ready for a run over these servers.
    #[must_use]
    pub fn player(&self, machines: &[Machine], seed: u64) -> Box<dyn Player> {
        match self.how {
            How::Product(options) => Box::new(Blind::new(Product::new(machines, seed, options))),
            How::Candid(options) => Box::new(Blind::candid(Product::new(machines, seed, options))),
            How::Losing(options, percent) => {
                Box::new(Blind::losing(Product::new(machines, seed, options), percent))
            }
            How::Queue(pick) => Box::new(Queue::new(pick)),
            How::Seed(threshold) => Box::new(Seed::new(threshold, machines.len())),
            How::Bound(rule) => Box::new(Bound::new(rule, seed, machines)),
            How::Ettft(rule, known) => Box::new(Ettft::new(rule, machines, known)),
            How::Pool => {
                let rule = Switches { eviction: 0.0, hold: 0.0, waits: false, ..Switches::default() };
                Box::new(Ettft::new(rule, machines, Insight { oracle: true, ..Insight::default() }))
            }
        }
    }

    /// One run.
    ///
    /// # Errors
    /// When a trace is not there.
    pub fn play(&self, scene: &Scene, seed: u64) -> Result<Run, TraceFault> {
        let setting = Setting { shared_pool: matches!(self.how, How::Pool), ..scene.setting() };
        let mut source = scene.source(seed)?;
        Ok(run(&setting, &mut *source, &mut *self.player(scene.machines(), seed)))
    }

    /// The mean over seeds from 1.
    ///
    /// # Errors
    /// When a trace is not there.
    pub fn score(&self, scene: &Scene, seeds: u64) -> Result<Score, TraceFault> {
        let scores: Result<Vec<Score>, TraceFault> =
            (1..=seeds).map(|seed| Ok(Score::of(&self.play(scene, seed)?))).collect();
        Ok(Score::mean(&scores?))
    }
}
