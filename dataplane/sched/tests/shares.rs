//! Fair shares in virtual time: slot time goes to keys by their weights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sched::{
    Arrival, Backend, BackendId, Cache, Candidate, Chain, Class, Decision, Event, Fleet, Health, Key,
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
        weight,
        class: Class::Normal,
        prompt_tokens: 10,
        prompt: Chain::default(),
        policy: Policy::CacheAffine,
        candidates: Box::new([candidate]),
        deadline: Moment::NEVER,
    })
}

/// Runs one-shot requests, given in order of time, until a moment: the seconds of slots that each key had.
fn run(
    fleet: Fleet,
    requests: &[Request],
    service: impl Fn(Key) -> Span,
    until: Moment,
) -> BTreeMap<Key, f64> {
    let mut core = Scheduler::new(1, Arc::new(fleet));
    let (mut held, mut ends, mut out) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    let mut coming = requests.iter().zip(0u64..).peekable();
    loop {
        let arrives = coming.peek().map(|((at, ..), _)| *at);
        let done: Option<(Moment, TicketId)> = ends.first().copied();
        let next = [arrives, done.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(now) = next.filter(|now| *now <= until) else { return held };
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
            let (_, key, _) = requests[ticket.0 as usize];
            let end = now + service(key);
            *held.entry(key).or_default() += end.min(until).since(now).secs();
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
        let held = run(fleet(3, quantum), &all.collect::<Vec<_>>(), service, Moment(4_000_000_000));
        let total: f64 = held.values().sum();
        for (key, weight) in weights {
            let (share, due) = (held[&key] / total, f64::from(weight) / 8.0);
            assert!((share / due - 1.0).abs() <= 0.05, "{key:?} has {share} of the slots, due is {due}");
        }
    }
}
