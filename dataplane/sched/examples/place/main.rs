//! What placing requests costs: `cargo run --release -p sched --example place`, or one thing under callgrind by name.
//!
//! Without arguments it prints how long passes over a long queue take.
//! `place warm-pool|warm-slots|cold|plain|pass-1000|pass-10000 ROUNDS` does one thing so many times, for a count of the
//! instructions inside `ask` or `live`; `place index` says what a record of the index needs.

mod index;
mod servers;
mod talk;

use std::ops::Range;
use std::time::{Duration, Instant};

use sched::{Cache, WINDOW};
use servers::{Servers, Speed};
use talk::prompt;

/// Conversations that take turns, and how many blocks they begin with: twenty thousand tokens.
const TALKS: u64 = 8;
const MESSAGES: u64 = 28;
const WARM_MIN: u32 = 20_000;
/// Conversations that filled the caches before.
const EARLIER: u64 = 120;
/// Backends and slots of the large fleet.
const BACKENDS: u32 = 64;
const SLOTS: u32 = 4;
/// How often the same passes are timed; the least of each counts, so that other work on the machine does not.
const REPEATS: usize = 7;
/// Events over which passes are timed.
const EVENTS: usize = 400;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => table(),
        ["index"] => index::print(),
        [what, rounds] => counted(what, rounds.parse().expect("the second argument is a number of rounds")),
        _ => panic!("nothing, `index`, or a name and a number of rounds"),
    }
}

/// Does one thing so many times.
fn counted(what: &str, rounds: u64) {
    match what {
        "warm-pool" => turns(0..8, &[0, 4], rounds),
        "warm-slots" => turns(0..8, &[1, 2, 3, 5, 6, 7], rounds),
        "cold" => cold(rounds),
        "plain" => plain(rounds),
        _ => {
            let waiting = what.strip_prefix("pass-").and_then(|count| count.parse().ok());
            let mut servers = crowd(waiting.expect("a name that is known"), 50);
            for _ in 0..rounds {
                servers.step();
            }
        }
    }
    println!("{what}: {rounds} rounds");
}

/// Eight unlike backends that have seen a lot, all idle.
fn small() -> Servers {
    let speeds = [3500.0, 2500.0, 1400.0, 900.0];
    let speed = |id: u32| Speed { prefill: speeds[id as usize % 4], decode: 50.0 };
    let mut servers = Servers::new((0..8).map(speed), |id| match id % 4 {
        0 => (4, Cache::Pool { tokens: 180_000 }),
        1 => (2, Cache::Slots { ram: 150_000 }),
        2 => (2, Cache::Slots { ram: 0 }),
        _ => (1, Cache::Slots { ram: 0 }),
    });
    for talk in 0..EARLIER {
        servers.now += 1_000_000;
        servers.arrive(talk % 6, prompt(1_000 + talk, 5 + talk % MESSAGES, 0));
        servers.step();
        servers.step();
    }
    while servers.step() {}
    servers
}

/// Conversations come back where they are warm, one after the other, each to an empty queue and a free slot.
fn turns(candidates: Range<u32>, homes: &[u32], rounds: u64) {
    let mut servers = small();
    let talks = homes.len() as u64;
    for (number, home) in (0..).zip(homes) {
        servers.serve(number, prompt(number, MESSAGES, 0), *home..*home + 1);
    }
    let mut warm = 0;
    for round in 0..rounds {
        let (number, turn) = (round % talks, 1 + round / talks);
        let found = servers.serve(number, prompt(number, MESSAGES, turn), candidates.clone());
        warm += u64::from(found >= WARM_MIN);
    }
    assert!(warm * 10 >= rounds * 9, "only {warm} of {rounds} turns are warm");
}

/// Prompts that nobody has seen, to an empty queue and free slots.
fn cold(rounds: u64) {
    let mut servers = small();
    for round in 0..rounds {
        servers.serve(round % TALKS, prompt(100_000 + round, MESSAGES, 0), 0..8);
    }
}

/// The whole life of requests without blocks that have one place to go.
fn plain(rounds: u64) {
    let speed = Speed { prefill: 1000.0, decode: 50.0 };
    let mut servers = Servers::new([speed], |_| (4096, Cache::Pool { tokens: 180_000 }));
    for _ in 0..rounds {
        servers.whole_life();
    }
}

/// A large fleet, every slot of which is taken but for a few on servers so slow that everyone would rather wait.
fn crowd(waiting: u64, keys: u64) -> Servers {
    let speed = |id| Speed { prefill: if id % 16 == 15 { 60.0 } else { 3000.0 }, decode: 50.0 };
    let mut servers = Servers::new((0..BACKENDS).map(speed), |id| {
        let pool = Cache::Pool { tokens: 180_000 };
        (SLOTS, if id % 2 == 0 { pool } else { Cache::Slots { ram: 100_000 } })
    });
    servers.teach();
    for ticket in 0..u64::from(BACKENDS * SLOTS) + waiting {
        servers.now += 1_000;
        servers.arrive(ticket % keys, prompt(ticket % 600, MESSAGES, ticket / 600));
    }
    servers
}

/// What passes over a long queue cost.
struct Passes {
    /// The time of each, the least of several runs, sorted.
    times: Vec<Duration>,
    /// The most slots that were weighed in one, for each start and one more.
    weighed: f64,
    starts: usize,
}

fn passes(waiting: u64, keys: u64) -> Passes {
    let mut passes = Passes { times: vec![Duration::MAX; EVENTS], weighed: 0.0, starts: 0 };
    for _ in 0..REPEATS {
        let mut servers = crowd(waiting, keys);
        passes.starts = 0;
        for time in &mut passes.times {
            let before = servers.core.evaluations();
            let start = Instant::now();
            servers.step();
            *time = start.elapsed().min(*time);
            passes.starts += servers.started;
            let weighed = (servers.core.evaluations() - before) as f64;
            passes.weighed = passes.weighed.max(weighed / (servers.started as f64 + 1.0));
        }
    }
    passes.times.sort_unstable();
    passes
}

fn table() {
    let bound = WINDOW as u32 * BACKENDS * SLOTS;
    println!(
        "passes over {BACKENDS} backends of {SLOTS} slots, {EVENTS} events, the least of {REPEATS} runs:\n\
         {:>8}{:>8}{:>8}{:>10}{:>10}{:>10}  weighed a start",
        "waiting", "keys", "starts", "p50 µs", "p99 µs", "most µs"
    );
    for (waiting, keys) in [(1000, 50), (1000, 1000), (10_000, 50)] {
        let Passes { times, weighed, starts } = passes(waiting, keys);
        let at = |percent: usize| times[(EVENTS - 1) * percent / 100].as_secs_f64() * 1e6;
        let (median, late, last) = (at(50), at(99), at(100));
        println!(
            "{waiting:>8}{keys:>8}{starts:>8}{median:>10.0}{late:>10.0}{last:>10.0}  {weighed:.0} of {bound}"
        );
        assert!(
            weighed <= f64::from(bound),
            "a pass weighs {weighed} slots for a start and may weigh {bound}"
        );
    }
}
