//! Published rules that follow the longest prefix, as their sources have them.

use super::{bound::Bound, least};
use crate::engine::World;

/// A prefix of this share of the prompt is followed.
const FOLLOWED: f64 = 0.3;

/// `sgl-router`'s `cache_aware`, with its relative threshold of 1.5.
pub(super) fn sglang(bound: &Bound, world: &World, ticket: usize, hosts: &[usize], apart: f64) -> usize {
    let loads = || hosts.iter().map(|host| bound.load(world, *host));
    let (most, fewest) = (loads().fold(0.0, f64::max), loads().fold(f64::INFINITY, f64::min));
    if most - fewest > apart && most > 1.5 * fewest {
        return least(hosts, |host| bound.load(world, host));
    }
    let (host, matched) = bound.longest(world, ticket, hosts);
    if matched / f64::from(world.tickets[ticket].record.input) > FOLLOWED {
        host
    } else {
        bound.smallest(hosts)
    }
}

/// LocalAI's `prefixcache`: a guard on loads first.
pub(super) fn localai(bound: &Bound, world: &World, ticket: usize, hosts: &[usize]) -> usize {
    let load = |host: usize| bound.load(world, host);
    let fewest = hosts.iter().map(|host| load(*host)).fold(f64::INFINITY, f64::min);
    let within = |host: usize| load(host) <= fewest + 2.0 && load(host) <= fewest * 1.5 + 1.0;
    let (host, matched) = bound.longest(world, ticket, hosts);
    if matched / f64::from(world.tickets[ticket].record.input) >= FOLLOWED && within(host) {
        return host;
    }
    let guarded: Vec<usize> = hosts.iter().copied().filter(|host| within(*host)).collect();
    bound.smallest(&guarded)
}

/// llm-d's scorers with their default weights; of equal scores the last.
pub(super) fn llmd(bound: &Bound, world: &World, ticket: usize, hosts: &[usize]) -> usize {
    let queued = |host: usize| bound.queues[host].len() as f64;
    let queues = || hosts.iter().map(|host| queued(*host));
    let (most, fewest) = (queues().fold(0.0, f64::max), queues().fold(f64::INFINITY, f64::min));
    let input = f64::from(world.tickets[ticket].record.input);
    let score = |host: usize| {
        let queue = if most > fewest { (most - queued(host)) / (most - fewest) } else { 1.0 };
        let used = world.hosts[host].jobs.len() as f64 / world.hosts[host].machine.slots as f64;
        3.0 * bound.matched(world, ticket, host) / input + 2.0 * queue + 2.0 * (1.0 - used)
    };
    *hosts.iter().max_by(|a, b| score(**a).total_cmp(&score(**b))).expect("a request fits somewhere")
}
