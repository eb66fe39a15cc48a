//! Two hundred requests of one key at once, over other work.

use std::sync::Arc;

use super::{Request, Source};
use crate::cache::Segment;
use crate::rng::Rng;
use crate::work::Agentic;

/// How many come.
const COUNT: usize = 200;
/// When they come, in seconds.
const AT: f64 = 1800.0;
/// One comes so many seconds after the other.
const APART: f64 = 0.01;
/// Median lengths of prompts, beside what they share, and of answers, in tokens.
const MEDIANS: (f64, f64) = (1800.0, 400.0);
/// What all begin with.
const SYSTEM: Segment = Segment { id: 4, tokens: 150 };

/// A crowd, and a burst of one more key.
pub struct Burst {
    base: Agentic,
    key: usize,
    requests: Vec<Request>,
}

impl Burst {
    /// When the burst comes, in seconds.
    pub const AT: f64 = AT;

    /// Over this crowd.
    #[must_use]
    pub fn over(base: Agentic, seed: u64) -> Self {
        let (key, first) = (base.keys(), base.agents());
        let mut rng = Rng::new(seed);
        let requests = (0..COUNT).map(|index| {
            let input = rng.lognormal(MEDIANS.0, 0.5) as u32 + 10;
            let output = (rng.lognormal(MEDIANS.1, 0.5) as u32).clamp(3, 2000);
            let prompt = [SYSTEM, Segment { id: rng.bits(), tokens: input }];
            let answer = Segment { id: rng.bits(), tokens: output };
            Request {
                key,
                agent: first + index,
                model: 0,
                prompt: Arc::new(prompt),
                answers: Arc::new([]),
                whole: prompt.into_iter().chain([answer]).collect(),
                session: rng.bits(),
                opening: rng.bits(),
                at: AT + index as f64 * APART,
                tool: false,
            }
        });
        Burst { requests: requests.collect(), key, base }
    }
}

impl Source for Burst {
    fn initial(&mut self) -> Vec<Request> {
        let mut all = self.base.initial();
        all.append(&mut self.requests);
        all
    }

    fn next(&mut self, agent: usize, now: f64) -> Vec<Request> {
        self.base.next(agent, now)
    }

    fn keys(&self) -> usize {
        self.key + 1
    }
}
