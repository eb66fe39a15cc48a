//! `Fail` by a refused connection: nobody was reached, so the request may come back there.

#[cfg(test)]
mod desk;

use desk::{check, run};

/// The step after which a wait for the end of `a`'s rest is over, from what the core says of it.
fn after_rest(steps: &[String]) -> u64 {
    let said = run(1, "a:1", steps.iter().map(String::as_str).chain(["? next"]));
    said.last().expect("said").parse::<u64>().expect("a moment") + 1
}

#[test]
fn it_waits_for_the_trial_in_its_old_place() {
    let mut steps: Vec<String> =
        ["0 arrive 1 on a", "1 arrive 2 on a", "2 fail 1 refused"].map(str::to_owned).into();
    let at = after_rest(&steps);
    assert!((800..=1210).contains(&at), "{at}");
    steps.extend([format!("{at} wake"), format!("{} done 1", at + 1), "? breaker a".to_owned()]);
    let said = run(1, "a:1", steps.iter().map(String::as_str));
    assert_eq!(said[..4], ["start 1 a0", "", "", "start 1 a0"]);
    assert_eq!(said[4], "start 2 a0", "the success of the trial starts the next");
    assert!(said[5].starts_with("closed"), "{}", said[5]);
}

#[test]
fn it_is_told_when_the_rests_grow_beyond_what_one_waits_for() {
    let mut steps: Vec<String> = ["0 arrive 1 on a", "0 fail 1 refused"].map(str::to_owned).into();
    for _ in 0..2 {
        let at = after_rest(&steps);
        steps.extend([format!("{at} wake"), format!("{at} fail 1 refused")]);
    }
    let at = after_rest(&steps);
    assert!((5_600..=8_410).contains(&at), "1 + 2 + 4 s: {at}");
    steps.extend([format!("{at} wake"), format!("{at} fail 1 refused"), "? breaker a".to_owned()]);
    let said = run(1, "a:1", steps.iter().map(String::as_str));
    let count = said.len();
    assert!(said[count - 2].starts_with("refuse 1 resting back "), "{}", said[count - 2]);
    let rest: u64 = said[count - 1].split(' ').nth(1).expect("a rest").parse().expect("a rest");
    assert!(rest <= 4_800, "it is tried again soon all the same: {rest}");
}

#[test]
fn another_takes_it_at_once_and_that_costs_no_retry() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("? retries", "100"),
            ("1 fail 1 refused", "start 1 b0"),
            ("? retries", "100"),
            ("2 fail 1 status", ""),
            ("? position 1", "0"),
        ],
    );
}

#[test]
fn one_that_is_busy_is_waited_for_as_by_anyone() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("0 arrive 2 on ab until 60000", "start 2 a0"),
            ("1 fail 2 refused", ""),
            ("2 adopt a:1,prio=1,down b:1", ""),
            ("30000 done 1", "start 2 b0"),
        ],
    );
}

#[test]
fn ten_seconds_are_enough_when_all_are_down() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a until 60000", "start 1 a0"),
            ("1 adopt a:1,down", ""),
            ("2 fail 1 refused", ""),
            ("10001 wake", ""),
            ("10002 wake", "refuse 1 deadline 10002 back 5000"),
        ],
    );
}

#[test]
fn it_starts_when_the_control_plane_sees_it_come_back() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 fail 1 refused", ""),
            ("2 adopt a:1,down", ""),
            ("900 adopt a:1", "start 1 a0"),
        ],
    );
}
