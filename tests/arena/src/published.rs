//! The figures of the published reference simulator, which ours must reproduce: the same generator, the same seeds.

use crate::policy::Policy;
use crate::scene::Scene;
use crate::score::Score;
use crate::work::TraceFault;

/// One policy in one world, as the mean over seeds 1 to 3.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where.
    pub scene: Scene,
    /// Who.
    pub policy: Policy,
    /// Warm share in %, mean, median, 90th and 99th percentile of the time to the first token in seconds, answers a
    /// minute.
    pub figures: [f64; 6],
}

const NAMES: [&str; 6] = ["warm %", "TTFT mean", "p50", "p90", "p99", "turns/min"];
const SEEDS: u64 = 3;
/// They are rounded to these.
const ROUNDED: [f64; 6] = [0.1, 0.01, 0.01, 0.01, 0.1, 0.1];
/// What ours may be off by, besides: Dynamo's rule there counts seconds of a model's load among tokens.
const APART: f64 = 0.01;

/// All rows.
///
/// # Panics
/// When the table names a world or a policy that does not exist.
#[must_use]
pub fn rows() -> Vec<Row> {
    include_str!("published.txt").lines().map(|line| row(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut parts = line.split(" | ");
    let scene = Scene::parse(parts.next()?)?;
    let policy = Policy::named(parts.next()?)?;
    let figures: Option<Vec<f64>> = parts.next()?.split(' ').map(|figure| figure.parse().ok()).collect();
    Some(Row { scene, policy, figures: figures?.try_into().ok()? })
}

impl Row {
    /// Plays it, and names what differs.
    ///
    /// # Errors
    /// When a trace is not there.
    pub fn check(&self) -> Result<Vec<String>, TraceFault> {
        let score = self.policy.score(&self.scene, SEEDS)?;
        let Score { warm, ttft, p50, p90, p99, turns, .. } = score;
        let ours = [warm * 100.0, ttft, p50, p90, p99, turns];
        let figures = NAMES.iter().zip(ours).zip(self.figures).zip(ROUNDED);
        let apart = figures.filter(|(((_, ours), published), rounded)| {
            (ours - published).abs() > rounded * 0.51 + published * APART
        });
        let place = format!("{}, {}", self.scene.name(), self.policy.name);
        let say = |(((name, ours), published), _): (((&&str, f64), f64), f64)| {
            format!("{place}: {name} {ours:.2} for {published}")
        };
        Ok(apart.map(say).collect())
    }
}
