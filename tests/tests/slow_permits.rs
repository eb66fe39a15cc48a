//! The permit protocol under tens of thousands of random fault schedules, and what finds each rule that is left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use permits::chaos::{FLAWS, first, schedule, silent, twice};
use permits::rush::Rush;

const SCHEDULES: u64 = 20_000;
const SILENT: u64 = 300;
/// Schedules in which a rule that is left out must be missed.
const MISSED_WITHIN: u64 = 20_000;
const THREADS: u64 = 2;

#[test]
fn thousands_of_fault_schedules_break_no_law() {
    let (starts, grants) = (AtomicU64::new(0), AtomicU64::new(0));
    let part = |thread: u64| {
        let seeds = SCHEDULES / THREADS * thread..SCHEDULES / THREADS * (thread + 1);
        first(seeds, |seed| match schedule(seed, None) {
            Ok(tally) => {
                starts.fetch_add(tally.starts, Ordering::Relaxed);
                grants.fetch_add(tally.grants, Ordering::Relaxed);
                None
            }
            Err(broken) => Some(broken),
        })
    };
    thread::scope(|scope| {
        let parts: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || part(thread))).collect();
        for part in parts {
            assert_eq!(part.join().expect("a part ends"), None);
        }
    });
    println!("{SCHEDULES} schedules: {starts:?} starts, {grants:?} grants, no law broken");
}

#[test]
fn where_silence_is_death_nobody_works_on() {
    assert_eq!(first(0..SILENT, |seed| silent(seed).err()), None);
    println!("{SILENT} schedules in which silence is death: no law broken");
}

#[test]
fn each_rule_that_is_left_out_is_missed() {
    for flaw in FLAWS {
        let found = first(0..MISSED_WITHIN, |seed| schedule(seed, Some(flaw)).err());
        let (seed, broken) = found.unwrap_or_else(|| panic!("{flaw:?} is not missed"));
        let slots = first(0..MISSED_WITHIN / 5, |seed| twice(seed, Some(flaw)));
        println!("{flaw:?}: missed by {} at schedule {}; by slots alone at {slots:?}", broken.law, seed + 1);
    }
}

#[test]
fn sharing_costs_little_with_any_number_of_data_planes() {
    for (round_trip, service, least) in [(1_000, 8.0, 0.998), (20_000, 8.0, 0.998), (20_000, 0.5, 0.985)] {
        for (planes, seed) in [(2, 1), (4, 2), (8, 1), (8, 2), (8, 3)] {
            let rush =
                Rush { planes, slots: 6, round_trip, service, load: 0.9, length: 2000.0, core: false, seed };
            let outcome = rush.run().unwrap_or_else(|broken| panic!("{rush:?}: {broken:?}"));
            println!("{rush:?}\n    {outcome:?}");
            assert!(outcome.utilisation >= least && outcome.overtakes <= 2, "{rush:?}: {outcome:?}");
        }
    }
}
