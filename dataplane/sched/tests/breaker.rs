//! The breaker, told by events alone: closed, open for a rest that grows, then one trial at a time.

#[cfg(test)]
mod desk;

use desk::{check, run};

/// Requests 1 to `count` come to `a` alone and fail like this.
fn failing(count: u64, fault: &str) -> Vec<(String, String)> {
    let one = |n: u64| {
        [
            (format!("{} arrive {n} on a", 10 * n), format!("start {n} a0")),
            (format!("{} fail {n} {fault}", 10 * n + 1), format!("refuse {n} exhausted 1")),
        ]
    };
    (1..=count).flat_map(one).collect()
}

fn check_after(fleet: &str, before: &[(String, String)], steps: &[(&str, &str)]) {
    let mut all: Vec<(&str, &str)> =
        before.iter().map(|(step, said)| (step.as_str(), said.as_str())).collect();
    all.extend(steps);
    check(fleet, &all);
}

#[test]
fn four_failures_leave_it_closed() {
    check_after("a:1", &failing(4, "status"), &[("50 arrive 9 on a", "start 9 a0")]);
}

#[test]
fn five_open_it_and_a_request_waits_for_the_trial() {
    let mut said = run(
        1,
        "a:1",
        failing(5, "status").iter().map(|(step, _)| step.as_str()).chain([
            "60 arrive 9 on a",
            "? next",
            "? breaker a",
        ]),
    );
    let breaker = said.pop().expect("said");
    let next: u64 = said.pop().expect("said").parse().expect("a moment");
    assert_eq!(said.pop().as_deref(), Some(""), "it waits");
    assert!(breaker.starts_with("open "), "{breaker}");
    // a second, a fifth longer or shorter, from the fifth failure at 51 ms
    assert!((851..=1251).contains(&next), "{next}");
    let rest: Vec<String> = vec![format!("{} wake", next + 1)];
    let steps = failing(5, "status");
    let steps = steps
        .iter()
        .map(|(step, _)| step.as_str())
        .chain(["60 arrive 9 on a"])
        .chain(rest.iter().map(String::as_str));
    assert_eq!(run(1, "a:1", steps).pop().as_deref(), Some("start 9 a0"), "the end of the rest starts it");
}

#[test]
fn a_refused_connection_opens_it_at_once() {
    let said = run(1, "a:1", ["0 arrive 1 on a", "1 fail 1 connect", "? breaker a"]);
    assert!(said[2].starts_with("open "), "{}", said[2]);
}

#[test]
fn a_trial_lets_one_through_and_its_success_closes() {
    check(
        "a:2,prio=1 b:2",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 fail 1 connect", "refuse 1 exhausted 1"),
            ("5000 arrive 2 on ab", "start 2 a0"),
            ("5001 arrive 3 on ab", "start 3 b0"),
            ("5002 first 2", ""),
            ("5003 arrive 4 on ab", "start 4 a1"),
        ],
    );
}

#[test]
fn a_trial_that_says_nothing_leaves_the_next_one_to_try() {
    check(
        "a:2",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 fail 1 connect", "refuse 1 exhausted 1"),
            ("5000 arrive 2 on a", "start 2 a0"),
            ("5001 arrive 3 on a", ""),
            ("5002 aborted 2", "start 3 a0"),
        ],
    );
}

#[test]
fn the_control_plane_vouches_for_one_that_came_back() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 fail 1 connect", "refuse 1 exhausted 1"),
            ("2 adopt a:1,down", ""),
            ("3 arrive 2 on a", "refuse 2 unhealthy"),
            ("4 adopt a:1", ""),
            ("5 arrive 3 on a", "start 3 a0"),
        ],
    );
}

#[test]
fn a_slow_one_that_lives_counts_for_nothing() {
    check_after(
        "a:1",
        &failing(9, "slow"),
        &[("? breaker a", "closed"), ("100 arrive 10 on a", "start 10 a0")],
    );
}

#[test]
fn a_trial_that_is_only_slow_leaves_the_next_one_to_try() {
    check(
        "a:2",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 fail 1 connect", "refuse 1 exhausted 1"),
            ("5000 arrive 2 on a", "start 2 a0"),
            ("5001 arrive 3 on a", ""),
            ("5002 fail 2 slow", "refuse 2 exhausted 1, start 3 a0"),
        ],
    );
}

#[test]
fn a_limit_rests_without_counting() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("1 fail 1 limited=3000", "start 1 b0"),
            ("2 arrive 2 on a", ""),
            ("3001 wake", "start 2 a0"),
            ("? breaker a", "closed Fault(Limited { retry_after: Some(Span(3000000)) })"),
        ],
    );
}

#[test]
fn a_long_rest_is_told_at_once() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 fail 1 limited=30000", "refuse 1 exhausted 1"),
            ("1001 arrive 2 on a", "refuse 2 resting back 34000"),
        ],
    );
}

#[test]
fn clients_that_leave_do_not_count() {
    let leave = |n: u64| [format!("{} arrive {n} on a", 10 * n), format!("{} aborted {n}", 10 * n + 1)];
    let steps: Vec<String> = (1..=30).flat_map(leave).collect();
    let said = run(1, "a:1", steps.iter().map(String::as_str).chain(["? breaker a"]));
    assert_eq!(said.last().map(String::as_str), Some("closed"));
}

#[test]
fn rests_double_to_a_minute_and_begin_anew_after_peace() {
    let mut steps = Vec::new();
    let mut now = 0;
    for turn in 0..9 {
        steps.extend([format!("{now} arrive {turn} on a"), format!("{now} fail {turn} status")]);
        // the first four failures only count
        now += 100_000;
    }
    let opened = |steps: &[String]| {
        let said = run(1, "a:1", steps.iter().map(String::as_str).chain(["? breaker a"]));
        said.last().and_then(|said| said.split(' ').nth(1)?.parse::<u64>().ok())
    };
    assert_eq!(opened(&steps[..8]), None, "four in a row");
    for (failures, due) in [(5, 1_000), (6, 2_000), (7, 4_000), (8, 8_000), (9, 16_000)] {
        let rest = opened(&steps[..2 * failures]).expect("open");
        assert!((due * 8 / 10..=due * 12 / 10).contains(&rest), "{failures} failures: {rest}");
    }
    steps.extend([format!("{now} arrive 50 on a"), format!("{now} done 50")]);
    now += 3_600_000;
    steps.extend([format!("{now} arrive 51 on a"), format!("{now} fail 51 connect")]);
    assert!(opened(&steps).is_some_and(|rest| (800..=1_200).contains(&rest)));
}

#[test]
fn half_of_the_last_ones_open_it() {
    let mut steps = Vec::new();
    for turn in 0..10 {
        let end = if turn % 2 == 0 { "done" } else { "failed" };
        steps.extend([format!("{turn} arrive {turn} on a"), format!("{turn} {end} {turn}")]);
    }
    let said = |steps: &[String]| {
        run(1, "a:1", steps.iter().map(String::as_str).chain(["? breaker a"])).pop().unwrap_or_default()
    };
    assert_eq!(said(&steps[..18]), "closed Failed", "nine say nothing");
    assert!(said(&steps).starts_with("open "), "{}", said(&steps));
    let slow: Vec<_> = (0..20).map(|step| format!("{}{}", 8_000 * step, &steps[step][1..])).collect();
    assert_eq!(said(&slow), "closed Failed", "older than half a minute");
}

#[test]
fn what_started_before_it_opened_says_nothing() {
    check(
        "a:3",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on a", "start 3 a2"),
            ("1 fail 3 connect", "refuse 3 exhausted 1"),
            ("5000 arrive 4 on a", "start 4 a2"),
            ("5001 done 1", ""),
            ("5002 failed 2", ""),
            ("? breaker a", "trial Fault(Connect)"),
            ("5003 arrive 5 on a", ""),
            ("5004 first 4", "start 5 a0"),
            ("? breaker a", "closed Fault(Connect)"),
        ],
    );
}

#[test]
fn a_trial_that_fails_rests_on() {
    let said = run(
        1,
        "a:2",
        ["0 arrive 1 on a", "1 fail 1 connect", "5000 arrive 2 on a", "5001 fail 2 status", "? breaker a"],
    );
    let rest: u64 = said[4].split(' ').nth(1).expect("a rest").parse().expect("a number");
    assert!((1_600..=2_400).contains(&rest), "{}", said[4]);
}

#[test]
fn the_view_tells_breaker_and_control_plane_apart() {
    check(
        "a:1,down b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 fail 1 limited", "refuse 1 exhausted 1"),
            ("? breaker a", "down, closed"),
            ("? breaker b", "closed limited 1000 Fault(Limited { retry_after: None })"),
        ],
    );
}
