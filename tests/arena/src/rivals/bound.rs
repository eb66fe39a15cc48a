//! Rules that bind a request to a server when it arrives, where it waits for its turn.

use std::collections::VecDeque;

use super::{cost, least, prefix, ring};
use crate::books::{Books, Insight};
use crate::engine::{Player, World};
use crate::fleet::Machine;
use crate::rng::Rng;

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The less loaded of two.
    PowerOfTwo,
    /// SGLang's `cache_aware`: the longest prefix, unless loads differ by more than `apart` requests and by more
    /// than a factor.
    Sglang {
        /// Requests.
        apart: f64,
    },
    /// LocalAI's distributed prefix cache.
    LocalAi,
    /// KubeAI's consistent hashing with bounded loads, a quarter above the mean.
    BoundedRing,
    /// Rendezvous hashing of the session.
    Sticky,
    /// llm-d's weighted scores: prefix 3, queue 2, use 2.
    LlmD,
    /// Preble's E2.
    Preble,
    /// NVIDIA Dynamo's cost in blocks.
    Dynamo,
    /// The least estimated time to the first token.
    Soonest,
}

/// A queue a server.
pub struct Bound {
    rule: Rule,
    rng: Rng,
    pub(super) books: Books,
    pub(super) queues: Vec<VecDeque<usize>>,
}

impl Bound {
    /// With empty queues.
    #[must_use]
    pub fn new(rule: Rule, seed: u64, machines: &[Machine]) -> Self {
        let books = Books::new(machines, Insight::default());
        Bound { rule, rng: Rng::new(seed ^ 77), books, queues: vec![VecDeque::new(); machines.len()] }
    }

    /// Requests that a host has, and that wait for it.
    pub(super) fn load(&self, world: &World, host: usize) -> f64 {
        (world.hosts[host].jobs.len() + self.queues[host].len()) as f64
    }

    pub(super) fn matched(&self, world: &World, ticket: usize, host: usize) -> f64 {
        self.books.matched(world, ticket, host) as f64
    }

    /// The host with the longest match, of equal ones the first, and the match.
    pub(super) fn longest(&self, world: &World, ticket: usize, hosts: &[usize]) -> (usize, f64) {
        let host = least(hosts, |host| -self.matched(world, ticket, host));
        (host, self.matched(world, ticket, host))
    }

    /// The host that was sent the fewest tokens.
    pub(super) fn smallest(&self, hosts: &[usize]) -> usize {
        least(hosts, |host| self.books.assigned(host) as f64)
    }

    fn choose(&mut self, world: &World, ticket: usize, hosts: &[usize]) -> usize {
        match self.rule {
            Rule::PowerOfTwo => {
                let two = [0; 2].map(|_| hosts[self.rng.below(hosts.len())]);
                least(&two, |host| self.load(world, host) / world.hosts[host].machine.slots as f64)
            }
            Rule::Sglang { apart } => prefix::sglang(self, world, ticket, hosts, apart),
            Rule::LocalAi => prefix::localai(self, world, ticket, hosts),
            Rule::LlmD => prefix::llmd(self, world, ticket, hosts),
            Rule::BoundedRing => ring::bounded(self, world, ticket, hosts),
            Rule::Sticky => ring::sticky(world, ticket, hosts),
            Rule::Preble => cost::preble(self, world, ticket, hosts),
            Rule::Dynamo => cost::dynamo(self, world, ticket, hosts),
            Rule::Soonest => cost::soonest(self, world, ticket, hosts),
        }
    }
}

impl Player for Bound {
    fn arrive(&mut self, world: &mut World, ticket: usize) {
        self.books.arrive(world, ticket, std::iter::empty());
        let hosts: Vec<usize> = (0..world.hosts.len()).filter(|host| world.feasible(ticket, *host)).collect();
        let host = self.choose(world, ticket, &hosts);
        self.queues[host].push_back(ticket);
    }

    fn first(&mut self, world: &mut World, ticket: usize) {
        self.books.first(world, ticket);
    }

    fn done(&mut self, world: &mut World, ticket: usize) {
        self.books.done(world, ticket);
    }

    fn settle(&mut self, world: &mut World) {
        for (host, queue) in self.queues.iter_mut().enumerate() {
            while let Some(ticket) = queue.pop_front_if(|ticket| world.open(*ticket, host)) {
                self.books.start(world, ticket, host);
            }
        }
    }

    fn next_wake(&self) -> Option<f64> {
        None
    }
}
