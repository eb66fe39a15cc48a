//! Rules that hash.

use super::bound::Bound;
use crate::engine::World;
use crate::rng::{mix, unit};

/// A server takes this much above its share of all requests.
const LOAD_FACTOR: f64 = 1.25;

/// KubeAI's consistent hashing with bounded loads, over the first words of the user.
pub(super) fn bounded(bound: &Bound, world: &World, ticket: usize, hosts: &[usize]) -> usize {
    let opening = world.tickets[ticket].request.opening;
    let slots = |host: usize| world.hosts[host].machine.slots as f64;
    let mut ring = hosts.to_vec();
    ring.sort_by(|a, b| draw(world, opening, *b).total_cmp(&draw(world, opening, *a)));
    let all: f64 = (0..world.hosts.len()).map(|host| bound.load(world, host)).sum();
    let seats: f64 = hosts.iter().map(|host| slots(*host)).sum();
    let below =
        |host: &&usize| bound.load(world, **host) <= LOAD_FACTOR * (all + 1.0) * slots(**host) / seats;
    *ring.iter().find(below).unwrap_or(&ring[0])
}

/// Always the same server for a session.
pub(super) fn sticky(world: &World, ticket: usize, hosts: &[usize]) -> usize {
    let session = world.tickets[ticket].request.session;
    let best = hosts.iter().max_by(|a, b| draw(world, session, **a).total_cmp(&draw(world, session, **b)));
    *best.expect("a request fits somewhere")
}

/// Rendezvous hashing, weighted by slots.
fn draw(world: &World, key: u64, host: usize) -> f64 {
    let chance = unit(mix(key ^ mix(host as u64 + 1)));
    -(world.hosts[host].machine.slots as f64) / chance.max(1e-12).ln()
}
