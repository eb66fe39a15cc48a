//! The seeded simulation: the very core among virtual servers, every law after every event.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::{
    Arrival, Asked, Backend, BackendId, Cache, Candidate, Chain, Class, Fleet, Health, Key, ModelId, Moment,
    Policy, Scheduler, Span, TicketId, Tuning,
};
use tests::laws::LAWS;
use tests::world::{Fate, Happening, Report, Request, Story, World};

const REQUESTS: u64 = 500;
const EVENTS_MIN: u64 = 1_000_000;
const WORKERS: u64 = 4;

/// Names the seed when anything panics on the way, also the core.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed is {}", self.0);
        }
    }
}

fn tell_story(seed: u64) -> Report {
    let named = Seed(seed);
    let mut story = Story::new(named.0);
    let fleet = story.fleet();
    let mut world = World::new(Scheduler::new(seed, fleet.clone()), fleet, LAWS);
    story.plan(&mut world, REQUESTS);
    let told = world.run().and_then(|()| {
        story.fill(&mut world);
        world.run()
    });
    assert_eq!(told, Ok(()), "seed {seed}");
    world.report()
}

/// Tells stories until there were so many events; each worker has seeds of its own.
fn tell_many(worker: u64, events_min: u64) -> (u64, BTreeMap<String, u64>) {
    let (mut events, mut counts) = (0, BTreeMap::new());
    for seed in (0..).map(|turn| turn * WORKERS + worker) {
        let report = tell_story(seed);
        events += report.events;
        *counts.entry("Ran".to_owned()).or_default() += report.ran.len() as u64;
        for (why, count) in report.refused {
            *counts.entry(why).or_default() += count;
        }
        if events >= events_min {
            break;
        }
    }
    (events, counts)
}

#[test]
fn a_million_events_break_no_law() {
    let told: Vec<_> = std::thread::scope(|scope| {
        let tell = |worker| scope.spawn(move || tell_many(worker, EVENTS_MIN / WORKERS));
        let workers: Vec<_> = (0..WORKERS).map(tell).collect();
        workers.into_iter().map(|worker| worker.join().expect("no law is broken")).collect()
    });
    assert!(told.iter().map(|(events, _)| events).sum::<u64>() >= EVENTS_MIN);
    let mut all = BTreeMap::<String, u64>::new();
    for (why, count) in told.into_iter().flat_map(|(_, counts)| counts) {
        *all.entry(why).or_default() += count;
    }
    println!("{all:?}");
    assert_eq!(all.len(), 12, "requests run and are refused for every reason: {all:?}");
    assert!(all.values().all(|count| *count > 100), "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_digest() {
    let digests: Vec<_> = (0..20).map(|seed| tell_story(seed).digest).collect();
    assert_eq!(digests, (0..20).map(|seed| tell_story(seed).digest).collect::<Vec<_>>());
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len(), "other seeds, other stories");
}

/// Runs requests that arrive together, one microsecond apart, each as (backends, milliseconds of service).
fn serve(slots: &[u32], requests: &[(&[u32], u64)]) -> Report {
    let backend = |slots: &u32| Backend {
        slots: *slots,
        priority: 0,
        max_input_tokens: None,
        health: Health::Healthy,
        draining: false,
        release_grace: Span::from_millis(250),
        cache: Cache::default(),
        models_max: None,
        resident: Default::default(),
        lot: 0,
    };
    let backends = (0..).map(BackendId).zip(slots.iter().map(backend)).collect();
    let fleet = Arc::new(Fleet {
        owner: true,
        queue_max: 1000,
        tuning: Tuning { fair_quantum: None, ..Tuning::default() },
        backends,
    });
    let mut world = World::new(Scheduler::new(7, fleet.clone()), fleet, LAWS);
    for (index, (backends, millis)) in (0..).zip(requests) {
        let candidates =
            backends.iter().map(|id| Candidate { backend: BackendId(*id), model: ModelId(0), reserve: 0 });
        let arrival = Arrival {
            ticket: TicketId(index),
            key: Key(0),
            class: Class::Normal,
            asked: Asked(0),
            weight: 1,
            prompt: Chain::default(),
            policy: Policy::Priority,
            prompt_tokens: 10,
            candidates: candidates.collect(),
            deadline: Moment(index) + Span::from_secs(600),
        };
        let service = Span::from_millis(*millis);
        let request = Request { arrival, service, lag: Span::ZERO, fate: Fate::Served };
        world.plan(Moment(index), Happening::Arrive(Box::new(request)));
    }
    world.run().expect("no law is broken");
    world.report()
}

fn started(report: &Report) -> Vec<u64> {
    report.ran.iter().map(|ran| ran.ticket.0).collect()
}

fn peaks(report: &Report) -> Vec<usize> {
    report.peaks.values().copied().collect()
}

#[test]
fn twelve_equal_requests_take_six_turns_on_two_slots() {
    let report = serve(&[1, 1], &[(&[0, 1][..], 400); 12]);
    // the second backend begins with the second request, one microsecond later
    assert_eq!(report.end, Moment(2_400_001));
    assert_eq!(started(&report), (0..12).collect::<Vec<_>>());
    assert_eq!(peaks(&report), [1, 1]);
}

#[test]
fn twelve_unlike_requests_never_double_up_and_leave_no_gap() {
    let lengths = [400, 50, 900, 10, 10, 300, 700, 20, 5, 600, 40, 365];
    let requests: Vec<(&[u32], u64)> = lengths.iter().map(|millis| (&[0, 1][..], *millis)).collect();
    let report = serve(&[1, 1], &requests);
    assert_eq!(started(&report), (0..12).collect::<Vec<_>>());
    assert_eq!(peaks(&report), [1, 1]);
    // greedy in order: what the list above comes to on two machines
    let mut machines = [0u64, 1];
    for (index, millis) in (0..).zip(lengths) {
        machines.sort_unstable();
        machines[0] = machines[0].max(index) + millis * 1000;
    }
    assert_eq!(report.end.0, machines[0].max(machines[1]));
}

#[test]
fn a_saturated_model_does_not_delay_an_idle_one() {
    let mut requests: Vec<(&[u32], u64)> = vec![(&[0], 1000); 200];
    requests.push((&[1], 10));
    let report = serve(&[1, 1], &requests);
    let b = report.ran.iter().find(|ran| ran.ticket == TicketId(200)).expect("it ran");
    assert_eq!((b.backend, b.start), (BackendId(1), Moment(200)), "at once");
}
