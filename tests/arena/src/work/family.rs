//! Coding agents that send others on errands, and go on when all are back.

use super::{Agentic, Request, Role, Source};
use crate::rng::{Rng, mix};

/// Errands that run at the same time.
const ERRANDS: usize = 3;
/// How often a turn of the parent sends others.
const SENDS: f64 = 0.15;
/// Families share so many keys.
const KEYS: usize = 4;
/// Families at load 1.
const FAMILIES: f64 = 6.0;

/// A parent's next turn, and who it waits for.
struct Parent {
    rng: Rng,
    held: Option<Request>,
    out: usize,
}

/// Families of a parent and those it sends, four keys in all.
pub struct Families {
    parents: Vec<Parent>,
    /// Parents first, then the errands of each.
    agents: Agentic,
}

impl Families {
    /// Six families at load 1.
    #[must_use]
    pub fn new(seed: u64, load: f64) -> Self {
        let count = ((FAMILIES * load).round() as usize).max(1);
        let parents = (0..count).map(|family| (family % KEYS, Role::Coding, 1));
        let errands = (0..count).map(|family| (family % KEYS, Role::Errand, ERRANDS));
        let crowd: Vec<_> = parents.chain(errands).collect();
        let parent = |family| Parent { rng: Rng::new(mix(seed * 31 + family)), held: None, out: 0 };
        Families { parents: (0..count as u64).map(parent).collect(), agents: Agentic::new(seed, &crowd, 0.0) }
    }

    /// The errands of a family.
    fn errands(&self, family: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.parents.len() + family * ERRANDS;
        first..first + ERRANDS
    }
}

impl Source for Families {
    fn initial(&mut self) -> Vec<Request> {
        (0..self.parents.len()).filter_map(|parent| self.agents.first(parent)).collect()
    }

    fn next(&mut self, agent: usize, now: f64) -> Vec<Request> {
        if let Some(errand) = agent.checked_sub(self.parents.len()) {
            if !self.agents.ended(agent) {
                return self.agents.next(agent, now);
            }
            let parent = &mut self.parents[errand / ERRANDS];
            parent.out -= 1;
            let back = parent.held.take_if(|_| parent.out == 0);
            return back.map(|turn| Request { at: turn.at.max(now), ..turn }).into_iter().collect();
        }
        let mut next = self.agents.next(agent, now);
        let parent = &mut self.parents[agent];
        if !parent.rng.chance(SENDS) {
            return next;
        }
        (parent.held, parent.out) = (next.pop(), ERRANDS);
        self.errands(agent).flat_map(|errand| self.agents.next(errand, now)).collect()
    }

    fn keys(&self) -> usize {
        self.agents.keys()
    }
}
