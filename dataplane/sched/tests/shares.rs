//! Fair shares in virtual time: slot time goes to keys by their weights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sched::{
    Arrival, Asked, Backend, BackendId, Cache, Candidate, Chain, Class, Decision, Event, Fleet, Health, Key,
    ModelId, Moment, Outcome, Policy, Scheduler, Span, TicketId, Tuning, Usage,
};

fn fleet(slots: u32, fair_quantum: Span) -> Fleet {
    let backend = Backend {
        slots,
        priority: 0,
        max_input_tokens: None,
        health: Health::Healthy,
        draining: false,
        release_grace: Span::ZERO,
        cache: Cache::default(),
        models_max: None,
        resident: Arc::default(),
        lot: 0,
    };
    let tuning = Tuning { fair_quantum: Some(fair_quantum), ..Tuning::default() };
    Fleet { owner: true, queue_max: 100_000, tuning, backends: BTreeMap::from([(BackendId(0), backend)]) }
}

/// One request: when, whose, and the weight of its key.
type Request = (Moment, Key, u16);

fn arrival(ticket: TicketId, key: Key, weight: u16) -> Event {
    let candidate = Candidate { backend: BackendId(0), model: ModelId(0), reserve: 0 };
    Event::Arrive(Arrival {
        ticket,
        key,
        asked: Asked(0),
        weight,
        class: Class::Normal,
        prompt_tokens: 10,
        prompt: Chain::default(),
        policy: Policy::CacheAffine,
        candidates: Box::new([candidate]),
        deadline: Moment::NEVER,
    })
}

/// What came of each key: the seconds of slots that it had, and how long its requests waited.
#[derive(Default)]
struct Had {
    held: BTreeMap<Key, f64>,
    waits: BTreeMap<Key, Vec<Span>>,
}

/// Runs one-shot requests, given in order of time, until a moment.
fn run(fleet: Fleet, requests: &[Request], service: impl Fn(Key) -> Span, until: Moment) -> Had {
    let mut core = Scheduler::new(1, Arc::new(fleet));
    let (mut had, mut ends, mut out) = (Had::default(), BTreeSet::new(), Vec::new());
    let mut coming = requests.iter().zip(0u64..).peekable();
    loop {
        let arrives = coming.peek().map(|((at, ..), _)| *at);
        let done: Option<(Moment, TicketId)> = ends.first().copied();
        let next = [arrives, done.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(now) = next.filter(|now| *now <= until) else { return had };
        let event = match done.filter(|(at, _)| *at == now) {
            Some(end) => {
                ends.remove(&end);
                let usage = Usage { prompt: Some(10), output: Some(20), ..Usage::default() };
                Event::Finish { ticket: end.1, outcome: Outcome::Done, usage }
            }
            None => {
                let ((_, key, weight), number) = coming.next().expect("it was seen");
                arrival(TicketId(number), *key, *weight)
            }
        };
        core.handle(now, event, &mut out);
        for decision in out.drain(..) {
            let Decision::Start { ticket, .. } = decision else { panic!("{decision:?}") };
            let (came, key, _) = requests[ticket.0 as usize];
            let end = now + service(key);
            *had.held.entry(key).or_default() += end.min(until).since(now).secs();
            had.waits.entry(key).or_default().push(now - came);
            ends.insert((end, ticket));
        }
    }
}

#[test]
fn slot_time_is_shared_by_weight() {
    for quantum in [Span::ZERO, Tuning::default().fair_quantum.unwrap()] {
        let weights = [(Key(1), 1u16), (Key(2), 2), (Key(3), 5)];
        let all = weights.iter().flat_map(|(key, weight)| (0..8_000).map(|_| (Moment(0), *key, *weight)));
        // of unlike lengths: what is shared is time
        let service = |key: Key| Span::from_millis(500 * key.0);
        let Had { held, .. } =
            run(fleet(3, quantum), &all.collect::<Vec<_>>(), service, Moment(4_000_000_000));
        let total: f64 = held.values().sum();
        for (key, weight) in weights {
            let (share, due) = (held[&key] / total, f64::from(weight) / 8.0);
            assert!((share / due - 1.0).abs() <= 0.05, "{key:?} has {share} of the slots, due is {due}");
        }
    }
}

/// The 95th percentile of what the requests of each key waited.
fn p95(had: Had) -> BTreeMap<Key, Span> {
    let mut waits = had.waits;
    waits.values_mut().for_each(|waits| waits.sort());
    waits.iter().map(|(key, waits)| (*key, waits[waits.len() * 95 / 100])).collect()
}

#[test]
fn a_flood_costs_another_key_one_service_at_most() {
    let service = Span::from_secs(1);
    let mut draw = 1u64;
    for slots in [1u32, 3] {
        for jitter in [0u64, 8_000, 1_999_000] {
            // four keys, each of which asks once in eight seconds of a slot
            let mut calm: Vec<Request> = Vec::new();
            for turn in 0..400 {
                for key in 1..=4 * u64::from(slots) {
                    draw =
                        draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = 500_000 + turn * 8_000_000 + key * 1_700_000 + (draw >> 33) % (jitter + 1);
                    calm.push((Moment(at), Key(key), 1));
                }
            }
            // and one that always has a hundred more than it is due
            let flood =
                (0..400).flat_map(|turn| (0..100).map(move |_| (Moment(turn * 8_000_000), Key(99), 1)));
            let mut flooded: Vec<Request> = calm.iter().copied().chain(flood).collect();
            calm.sort();
            flooded.sort_by_key(|(at, ..)| *at);
            let until = Moment(3_300_000_000);
            let before = p95(run(fleet(slots, Span::ZERO), &calm, |_| service, until));
            let after = p95(run(fleet(slots, Span::ZERO), &flooded, |_| service, until));
            for (key, before) in before {
                let more = after[&key] - before;
                assert!(
                    more <= service,
                    "{slots} slots, {jitter} us: {key:?} waited {before:?}, then {more:?} more"
                );
            }
        }
    }
}
