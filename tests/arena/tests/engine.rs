//! Servers at work, against figures worked out by hand.

use std::sync::Arc;

use arena::cache::{Segment, Shape};
use arena::engine::{Player, Record, Setting, World, run};
use arena::fleet::{Kind, Machine};
use arena::rivals::{Pick, Queue};
use arena::work::{Request, Source};

/// 1000 tokens a second in, 10 out, two slots, a pool.
fn machine() -> Machine {
    Machine {
        name: "a",
        kind: Kind::Vllm,
        slots: 2,
        prefill_tps: 1000.0,
        decode_tps: 10.0,
        crowding: 0.5,
        cache: Shape::Pool { capacity: 1_000_000 },
        priority: 0,
        input_max: 100_000,
        models: 0b11,
        load_s: None,
    }
}

/// A prompt of equal segments of 1000 tokens, by their numbers, and an answer of 20 tokens.
fn request(agent: usize, at: f64, model: u8, prompt: &[u64]) -> Request {
    let segment = |id: &u64| Segment { id: *id, tokens: 1000 };
    let prompt: Arc<[Segment]> = prompt.iter().map(segment).collect();
    let answer = Segment { id: 1_000_000 + agent as u64, tokens: 20 };
    Request {
        key: 0,
        agent,
        model,
        whole: prompt.iter().copied().chain([answer]).collect(),
        prompt,
        answers: Arc::new([]),
        session: agent as u64,
        opening: 0,
        at,
        tool: false,
    }
}

struct Fixed(Vec<Request>);

impl Source for Fixed {
    fn initial(&mut self) -> Vec<Request> {
        self.0.clone()
    }

    fn next(&mut self, _: usize, _: f64) -> Vec<Request> {
        Vec::new()
    }

    fn keys(&self) -> usize {
        1
    }
}

/// Sends everything to the first server as soon as it has a slot, whatever its model.
struct Pushy(Vec<usize>);

impl Player for Pushy {
    fn arrive(&mut self, _: &mut World, ticket: usize) {
        self.0.push(ticket);
    }

    fn first(&mut self, _: &mut World, _: usize) {}

    fn done(&mut self, _: &mut World, _: usize) {}

    fn settle(&mut self, world: &mut World) {
        while world.hosts[0].free() > 0 && !self.0.is_empty() {
            world.start(self.0.remove(0), 0);
        }
    }

    fn next_wake(&self) -> Option<f64> {
        None
    }
}

fn records(machine: Machine, requests: Vec<Request>) -> Vec<Record> {
    let setting = Setting { horizon: 1000.0, warmup: 0.0, ..Setting::new(vec![machine]) };
    run(&setting, &mut Fixed(requests), &mut Pushy(Vec::new())).records
}

/// What so many tokens cost behind so many, with 20 ms of overhead.
fn prefill(uncached: f64, cached: f64) -> f64 {
    machine().prefill_s(uncached, cached) + 0.02
}

fn near(ours: Option<f64>, expected: f64) {
    let ours = ours.expect("it happened");
    assert!((ours - expected).abs() < 1e-6, "{ours} for {expected}");
}

#[test]
fn a_request_alone_reads_and_writes_at_full_speed() {
    let alone = records(machine(), vec![request(0, 1.0, 0, &[1, 2])]);
    near(alone[0].first, 1.0 + prefill(2000.0, 0.0));
    near(alone[0].done, 1.0 + prefill(2000.0, 0.0) + 2.0);
}

#[test]
fn what_was_read_is_not_read_again() {
    let twice = records(machine(), vec![request(0, 0.0, 0, &[1, 2]), request(1, 10.0, 0, &[1, 2, 3])]);
    assert_eq!((twice[0].cached, twice[1].cached), (0, 2000));
    near(twice[1].first, 10.0 + prefill(1000.0, 2000.0));
    // The last token of a prompt is always read.
    let same = records(machine(), vec![request(0, 0.0, 0, &[1]), request(1, 10.0, 0, &[1])]);
    assert_eq!(same[1].cached, 992);
}

#[test]
fn prefills_share_a_server() {
    let both = records(machine(), vec![request(0, 0.0, 0, &[1]), request(1, 0.0, 0, &[2])]);
    near(both[0].first, 2.0 * prefill(1000.0, 0.0));
    near(both[1].first, 2.0 * prefill(1000.0, 0.0));
    // Two streams slow each other down by half.
    near(both[0].done, 2.0 * prefill(1000.0, 0.0) + 2.0 * 1.5);
}

#[test]
fn a_prefill_and_a_stream_disturb_each_other() {
    let alone = prefill(1000.0, 0.0);
    let both = records(machine(), vec![request(0, 0.0, 0, &[1]), request(1, 2.0, 0, &[2])]);
    let (read, streamed) = (alone / 0.9, (2.0 - alone) * 10.0);
    near(both[1].first, 2.0 + read);
    let left = 20.0 - streamed - read * 10.0 * 0.4;
    near(both[0].done, 2.0 + read + left / (10.0 / 1.5));
}

#[test]
fn another_model_waits_for_what_runs_and_is_loaded_once() {
    let swaps = Machine { load_s: Some(5.0), ..machine() };
    let requests = vec![request(0, 0.0, 0, &[1]), request(1, 1.0, 1, &[2]), request(2, 20.0, 1, &[3])];
    let all = records(swaps, requests);
    let alone = prefill(1000.0, 0.0);
    near(all[0].first, 5.0 + alone);
    near(all[1].begun, 5.0 + alone + 2.0);
    near(all[1].read, 5.0 + alone + 2.0 + 5.0);
    near(all[2].first, 20.0 + alone);
}

#[test]
fn whoever_arrives_behind_a_waiting_model_waits_too() {
    let swaps = Machine { load_s: Some(5.0), slots: 3, ..machine() };
    let requests = vec![request(0, 0.0, 0, &[1]), request(1, 1.0, 1, &[2]), request(2, 2.0, 0, &[3])];
    let all = records(swaps, requests);
    let (first, second) = (all[0].done.expect("done"), all[1].done.expect("done"));
    near(all[1].begun, first);
    near(all[2].begun, second);
}

#[test]
fn a_lost_cache_is_cold() {
    let setting =
        Setting { horizon: 100.0, warmup: 0.0, loss_every: Some(10.0), ..Setting::new(vec![machine()]) };
    let requests =
        vec![request(0, 0.0, 0, &[1, 2]), request(1, 9.0, 0, &[1, 2]), request(2, 20.5, 0, &[1, 2])];
    let run = run(&setting, &mut Fixed(requests), &mut Queue::new(Pick::RoundRobin));
    let cached: Vec<u64> = run.records.iter().map(|record| record.cached).collect();
    assert_eq!(cached, [0, 1999, 0]);
}

#[test]
fn one_shared_cache_makes_every_server_warm() {
    let setting = Setting {
        horizon: 100.0,
        warmup: 0.0,
        shared_pool: true,
        ..Setting::new(vec![machine(), machine()])
    };
    let requests = vec![request(0, 0.0, 0, &[1, 2]), request(1, 9.0, 0, &[1, 2, 3])];
    let run = run(&setting, &mut Fixed(requests), &mut Queue::new(Pick::RoundRobin));
    assert_eq!((run.records[1].host, run.records[1].cached), (Some(1), 2000));
}

#[test]
#[should_panic(expected = "no free slot")]
fn a_full_server_takes_nothing() {
    struct Blindly;
    impl Player for Blindly {
        fn arrive(&mut self, world: &mut World, ticket: usize) {
            world.start(ticket, 0);
        }
        fn first(&mut self, _: &mut World, _: usize) {}
        fn done(&mut self, _: &mut World, _: usize) {}
        fn settle(&mut self, _: &mut World) {}
        fn next_wake(&self) -> Option<f64> {
            None
        }
    }
    let requests = (0..3).map(|agent| request(agent, 0.0, 0, &[1])).collect();
    let _ = run(&Setting::new(vec![machine()]), &mut Fixed(requests), &mut Blindly);
}
