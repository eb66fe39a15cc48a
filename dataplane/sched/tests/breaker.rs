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
