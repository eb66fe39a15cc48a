//! The rule of the product's forerunner: a long prompt waits for a server that has seen some of it.

use super::queue::preferred;
use crate::cache::{Sequence, shared, tokens};
use crate::engine::{Player, World};

/// So many common tokens are a hit.
const HIT_MIN: u64 = 50;
/// Prompts remembered of a server.
const PROMPTS_MAX: usize = 5;
/// A remembered prompt of which so much begins a newer one is replaced by it.
const SAME: f64 = 0.99;

/// One queue; of several servers the one with the highest priority.
#[derive(Debug)]
pub struct Seed {
    /// Prompts at least this long wait for a hit, in tokens.
    threshold: u32,
    waiting: Vec<usize>,
    /// Of each server, the last used first.
    prompts: Vec<Vec<Sequence>>,
}

impl Seed {
    /// For so many servers.
    #[must_use]
    pub fn new(threshold: u32, hosts: usize) -> Self {
        Seed { threshold, waiting: Vec::new(), prompts: vec![Vec::new(); hosts] }
    }

    fn choose(&mut self, world: &World, ticket: usize) -> Option<usize> {
        let open = |host: &usize| world.open(ticket, *host);
        let hits = self.hits(world, ticket);
        match hits.is_empty() {
            true => preferred(world, (0..world.hosts.len()).filter(open)),
            false => preferred(world, hits.into_iter().filter(open)),
        }
    }

    fn hits(&mut self, world: &World, ticket: usize) -> Vec<usize> {
        let (request, record) = (&world.tickets[ticket].request, &world.tickets[ticket].record);
        if record.input < self.threshold {
            return Vec::new();
        }
        let mut hits = Vec::new();
        for (host, prompts) in
            self.prompts.iter_mut().enumerate().filter(|(host, _)| world.feasible(ticket, *host))
        {
            let common = prompts.iter().map(|prompt| shared(prompt, &request.prompt)).enumerate();
            let best =
                common.filter(|(_, common)| *common >= HIT_MIN).rev().max_by_key(|(_, common)| *common);
            if let Some((index, _)) = best {
                prompts[..=index].rotate_right(1);
                hits.push(host);
            }
        }
        hits
    }
}

impl Player for Seed {
    fn arrive(&mut self, _: &mut World, ticket: usize) {
        self.waiting.push(ticket);
    }

    fn first(&mut self, _: &mut World, _: usize) {}

    fn done(&mut self, world: &mut World, ticket: usize) {
        let ticket = &world.tickets[ticket];
        let Some(prompts) = ticket.record.host.and_then(|host| self.prompts.get_mut(host)) else { return };
        let prompt = &ticket.request.prompt;
        let same = |old: &Sequence| shared(old, prompt) as f64 >= SAME * tokens(old) as f64;
        if let Some(index) = prompts.iter().position(same) {
            prompts.remove(index);
        }
        prompts.insert(0, Sequence::clone(prompt));
        prompts.truncate(PROMPTS_MAX);
    }

    fn settle(&mut self, world: &mut World) {
        let mut index = 0;
        while let Some(ticket) = self.waiting.get(index) {
            match self.choose(world, *ticket) {
                Some(host) => world.start(self.waiting.remove(index), host),
                None => index += 1,
            }
        }
    }

    fn next_wake(&self) -> Option<f64> {
        None
    }
}
