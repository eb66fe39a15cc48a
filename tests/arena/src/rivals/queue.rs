//! One queue for all servers, first come first served, with a simple choice among the free ones.

use crate::engine::{Player, World};

/// The choice among free servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// One after the other.
    RoundRobin,
    /// The smallest share of slots in use.
    LeastConnections,
    /// The highest priority.
    Priority,
}

/// A queue and its choice.
#[derive(Debug)]
pub struct Queue {
    pick: Pick,
    waiting: Vec<usize>,
    next: usize,
}

impl Queue {
    /// An empty one.
    #[must_use]
    pub fn new(pick: Pick) -> Self {
        Queue { pick, waiting: Vec::new(), next: 0 }
    }

    fn choose(&mut self, world: &World, ticket: usize) -> Option<usize> {
        let hosts = world.hosts.len();
        let open = (0..hosts).filter(|host| world.open(ticket, *host));
        match self.pick {
            Pick::RoundRobin => {
                let host = open.min_by_key(|host| (host + hosts - self.next) % hosts)?;
                self.next = (host + 1) % hosts;
                Some(host)
            }
            Pick::LeastConnections => {
                let share = |host: usize| {
                    let host = &world.hosts[host];
                    host.jobs.len() as f64 / host.machine.slots as f64
                };
                open.min_by(|a, b| share(*a).total_cmp(&share(*b)))
            }
            Pick::Priority => preferred(world, open),
        }
    }
}

/// The highest priority, of equal ones the first.
pub(super) fn preferred(world: &World, hosts: impl Iterator<Item = usize>) -> Option<usize> {
    hosts.max_by_key(|host| (world.hosts[*host].machine.priority, std::cmp::Reverse(*host)))
}

impl Player for Queue {
    fn arrive(&mut self, _: &mut World, ticket: usize) {
        self.waiting.push(ticket);
    }

    fn first(&mut self, _: &mut World, _: usize) {}

    fn done(&mut self, _: &mut World, _: usize) {}

    fn settle(&mut self, world: &mut World) {
        let mut index = 0;
        while let Some(ticket) = self.waiting.get(index) {
            if world.hosts.iter().all(|host| host.free() == 0) {
                return;
            }
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
