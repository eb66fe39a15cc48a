//! Rules that estimate a cost.

use super::{bound::Bound, least};
use crate::engine::{Job, Phase, World};

/// Preble's window of load, in seconds.
const WINDOW_S: f64 = 180.0;

/// Preble's E2: exploits a prefix of more than half, unless that server is far above the least loaded one.
pub(super) fn preble(bound: &mut Bound, world: &World, ticket: usize, hosts: &[usize]) -> usize {
    let since = world.now - WINDOW_S;
    let slots = |host: usize| world.hosts[host].machine.slots as f64;
    let costs: Vec<f64> =
        (0..world.hosts.len()).map(|host| bound.books.charged(host, since) / slots(host)).collect();
    let input = f64::from(world.tickets[ticket].record.input);
    let (holder, matched) = bound.longest(world, ticket, hosts);
    let lowest = hosts.iter().map(|host| costs[*host]).fold(f64::INFINITY, f64::min);
    if matched > input / 2.0 && costs[holder] <= 1.5 * lowest + 20.0 {
        return holder;
    }
    least(hosts, |host| {
        let missing = input - bound.matched(world, ticket, host);
        let prefill = bound.books.prefill_s(world, host, missing, 0.0);
        costs[host] + prefill + bound.queues[host].len() as f64 * 5.0
    })
}

/// Dynamo's selector with an overlap weight of 1: tokens to read and tokens held.
pub(super) fn dynamo(bound: &Bound, world: &World, ticket: usize, hosts: &[usize]) -> usize {
    let input = |ticket: usize| f64::from(world.tickets[ticket].record.input);
    least(hosts, |host| {
        let jobs = &world.hosts[host].jobs;
        let queue = &bound.queues[host];
        let reading = jobs.iter().filter(|job| job.phase != Phase::Decode).map(|job| job.uncached as f64);
        let to_read = queue.iter().map(|other| input(*other) - bound.matched(world, *other, host));
        let held = |job: &Job| input(job.ticket) + job.generated;
        let prefill = reading.sum::<f64>() + to_read.sum::<f64>();
        let decode =
            jobs.iter().map(held).sum::<f64>() + queue.iter().map(|other| input(*other)).sum::<f64>();
        prefill + input(ticket) - bound.matched(world, ticket, host) + decode + input(ticket)
    })
}

/// The least time to the first token, over the work that the server has or that waits for it.
pub(super) fn soonest(bound: &Bound, world: &World, ticket: usize, hosts: &[usize]) -> usize {
    let books = &bound.books;
    let input = |ticket: usize| f64::from(world.tickets[ticket].record.input);
    let prefill = |ticket: usize, host: usize| {
        books.prefill_s(world, host, input(ticket) - bound.matched(world, ticket, host), 0.0)
    };
    least(hosts, |host| {
        let server = &world.hosts[host];
        let mut free: Vec<f64> = server.jobs.iter().map(|job| books.release_s(world, host, job)).collect();
        free.resize(server.machine.slots, 0.0);
        for other in &bound.queues[host] {
            free.sort_by(f64::total_cmp);
            free[0] += prefill(*other, host) + books.output(world, *other) / books.decode_tps(world, host);
        }
        let wait = free.iter().copied().fold(f64::INFINITY, f64::min);
        wait + world.load_s(ticket, host) + prefill(ticket, host)
    })
}
