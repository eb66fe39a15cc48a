//! Random fault schedules of the permit protocol, and the rules that are left out one by one.

use permits::chaos::{FLAWS, core, first, schedule, silent};

#[test]
fn no_fault_breaks_a_law() {
    assert_eq!(first(0..400, |seed| schedule(seed, None).err()), None);
}

#[test]
fn where_silence_is_death_nobody_works_on() {
    assert_eq!(first(0..20, |seed| silent(seed).err()), None);
}

#[test]
fn a_schedule_repeats_from_its_seed() {
    for seed in [3, 14] {
        let once = schedule(seed, None);
        assert!(once.as_ref().is_ok_and(|tally| tally.starts > 0 && tally.grants > 0), "{once:?}");
        assert_eq!(once, schedule(seed, None));
    }
}

#[test]
fn a_rule_that_is_left_out_is_missed() {
    for flaw in FLAWS {
        let found = first(0..600, |seed| schedule(seed, Some(flaw)).err());
        assert!(found.is_some(), "{flaw:?} is not missed");
    }
}

#[test]
fn no_fault_breaks_a_law_with_the_scheduling_core() {
    assert_eq!(first(0..100, |seed| core(seed).err()), None);
}
