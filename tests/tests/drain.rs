//! A queue of twice the length takes twice the work to drain, not four times.

use std::{collections::BTreeMap, fs, sync::Arc};

use sched::{
    Arrival, Asked, Backend, BackendId, Cache, Candidate, Chain, Class, Decision, Event, Fleet, Health, Key,
    ModelId, Moment, Outcome, Policy, Scheduler, Span, TicketId, Tuning, Usage,
};

const BACKENDS: u32 = 12;
const SHORT: u64 = 4000;
/// Twice, and what ordered collections add for one more level.
const RATIO_MAX: f64 = 2.4;
/// Other work on the machine costs caches: the best of so many runs counts.
const TRIES: usize = 5;

/// Processor time of this thread, nanoseconds.
fn spent_ns() -> u64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").expect("the system counts");
    told.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn fleet() -> Fleet {
    let backend = Backend {
        slots: 1,
        priority: 0,
        max_input_tokens: None,
        health: Health::Healthy,
        draining: false,
        release_grace: Span::ZERO,
        cache: Cache::default(),
        models_max: None,
        resident: Default::default(),
        lot: 0,
    };
    let backends = (0..BACKENDS).map(|id| (BackendId(id), backend.clone()));
    Fleet {
        owner: true,
        queue_max: usize::MAX,
        tuning: Tuning { fair_quantum: None, ..Tuning::default() },
        backends: backends.collect::<BTreeMap<_, _>>(),
    }
}

/// Three backends, other ones for each of many kinds of requests.
fn arrival(number: u64) -> Arrival {
    let one = |step: u64| BackendId(((number * step + step) % u64::from(BACKENDS)) as u32);
    let candidates = [1, 5, 7].map(|step| Candidate { backend: one(step), model: ModelId(0), reserve: 0 });
    Arrival {
        ticket: TicketId(number),
        key: Key(number % 50),
        class: Class::Normal,
        asked: Asked(0),
        weight: 1,
        prompt: Chain::default(),
        policy: Policy::Priority,
        prompt_tokens: 100,
        candidates: candidates.into(),
        deadline: Moment::NEVER,
    }
}

/// Lets `tickets` wait for `BACKENDS` slots and drains them; the processor time of that for each ticket, nanoseconds.
fn drain(tickets: u64) -> f64 {
    let mut core = Scheduler::new(7, Arc::new(fleet()));
    let mut out = Vec::new();
    for number in 0..tickets {
        core.handle(Moment(number), Event::Arrive(arrival(number)), &mut out);
    }
    let began_ns = spent_ns();
    let mut next = 0;
    while let Some(Decision::Start { ticket, .. }) = out.get(next).cloned() {
        next += 1;
        let ended = Event::Finish { ticket, outcome: Outcome::Done, usage: Usage::default() };
        core.handle(Moment(tickets + next as u64), ended, &mut out);
    }
    let took_ns = spent_ns() - began_ns;
    assert_eq!((out.len() as u64, core.view().waiting), (tickets, 0), "all start, once");
    took_ns as f64 / tickets as f64
}

#[test]
fn draining_costs_the_same_for_each_ticket_however_many_wait() {
    let mut ratios = Vec::new();
    for _ in 0..TRIES {
        let (short, long) = (drain(SHORT), drain(2 * SHORT));
        let ratio = 2.0 * long / short;
        println!(
            "{short:.0} ns a ticket of {SHORT}, {long:.0} ns of twice as many: {ratio:.2} times the work"
        );
        if ratio <= RATIO_MAX {
            return;
        }
        ratios.push(ratio);
    }
    panic!("not linear: {ratios:?}");
}
