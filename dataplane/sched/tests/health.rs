//! The control plane's verdict and the breaker, joined: neither overrules good sense.

#[cfg(test)]
mod desk;

use desk::{check, run};

/// What opens the breaker of `a` or leaves it, whether time passes, the verdict then, and what a newcomer gets.
const TABLE: [(&str, u64, &str, &str); 14] = [
    ("closed", 0, "a:1", "start"),
    ("closed", 0, "a:1,down", "unhealthy"),
    ("closed", 0, "a:1,unknown", "start"),
    ("closed", 0, "a:1,drain", "draining"),
    ("closed", 0, "a:1,unknown,drain", "draining"),
    ("open", 0, "a:1", "waits"),
    ("open", 0, "a:1,down", "unhealthy"),
    ("open", 0, "a:1,unknown", "waits"),
    ("open", 0, "a:1,drain", "draining"),
    ("open", 5_000, "a:1", "start"),
    ("open", 5_000, "a:1,down", "unhealthy"),
    ("open", 5_000, "a:1,unknown", "start"),
    ("trial", 5_000, "a:1", "waits"),
    ("trial", 5_000, "a:1,unknown", "waits"),
];

fn outcome(breaker: &str, later: u64, verdict: &str) -> String {
    let mut steps = Vec::new();
    if breaker != "closed" {
        steps.extend(["0 arrive 1 on a".to_owned(), "0 fail 1 connect".to_owned()]);
    }
    if breaker == "trial" {
        steps.push(format!("{later} arrive 2 on a"));
    }
    steps.extend([format!("{} adopt {verdict}", later + 1), format!("{} arrive 9 on a", later + 2)]);
    let said = run(1, "a:1", steps.iter().map(String::as_str)).pop().expect("said");
    let word = said.strip_prefix("refuse 9 ").or(said.strip_prefix("start 9").map(|_| "start"));
    word.unwrap_or("waits").to_owned()
}

#[test]
fn who_may_get_traffic() {
    for (breaker, later, verdict, wanted) in TABLE {
        assert_eq!(outcome(breaker, later, verdict), wanted, "{breaker}, {later} ms later {verdict}");
    }
}

/// Requests that fail while the probe page is fine: the rests grow on, however often the probes say so.
#[test]
fn good_probes_do_not_hide_failing_requests() {
    let mut steps: Vec<String> = Vec::new();
    for n in 1..=5 {
        steps.extend([format!("{n} arrive {n} on a"), format!("{n} fail {n} status")]);
    }
    let (mut now, mut rests) = (5, Vec::new());
    for n in 10..14 {
        let mut asked: Vec<&str> = steps.iter().map(String::as_str).collect();
        asked.push("? next");
        let until: u64 = run(1, "a:1", asked).pop().expect("said").parse().expect("it rests");
        rests.push(until - now);
        for at in (now + 1..until).step_by(200) {
            steps.push(format!("{at} adopt a:1"));
        }
        steps.extend([format!("{} arrive {n} on a", until + 1), format!("{} fail {n} status", until + 1)]);
        now = until + 1;
    }
    assert!(rests.windows(2).all(|pair| pair[1] > pair[0] * 4 / 3), "{rests:?}");
}

/// One that was down and is back gets one request at once; when that fails, it rests longer than before.
#[test]
fn a_verdict_that_changes_gives_one_trial_and_no_more() {
    let mut steps: Vec<String> = ["0 arrive 1 on a", "0 fail 1 connect"].map(str::to_owned).into();
    let mut rests = Vec::new();
    for n in 2..6 {
        let at = 10 * n;
        steps.extend([
            format!("{at} adopt a:1,down"),
            format!("{} adopt a:1", at + 1),
            format!("{} arrive {n} on a", at + 2),
            format!("{} fail {n} status", at + 3),
        ]);
        let mut asked: Vec<&str> = steps.iter().map(String::as_str).collect();
        asked.push("? next");
        let said = run(1, "a:1", asked);
        assert_eq!(said[said.len() - 3], format!("start {n} a0"));
        rests.push(said.last().expect("said").parse::<u64>().expect("it rests") - at - 3);
    }
    assert!(rests.windows(2).all(|pair| pair[1] > pair[0] * 4 / 3), "{rests:?}");
}

#[test]
fn a_verdict_that_stays_good_leaves_the_breaker_alone() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 fail 1 connect", "refuse 1 exhausted 1"),
            ("1 adopt a:1", ""),
            ("2 arrive 2 on a", ""),
            ("3 adopt a:1", ""),
            ("5000 wake", "start 2 a0"),
        ],
    );
}

/// Who said that it is down is gone, and nobody says anything else: one request finds out.
#[test]
fn a_bad_verdict_that_counts_no_more_gives_one_trial() {
    check(
        "a:2",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 adopt a:2,down", ""),
            ("2 arrive 2 on a", "refuse 2 unhealthy"),
            ("3 adopt a:2,unknown", ""),
            ("? breaker a", "unknown, trial"),
            ("4 arrive 3 on a", "start 3 a1"),
            ("5 arrive 4 on a", ""),
            // what ran there before proves nothing now
            ("6 first 1", ""),
            ("7 adopt a:2,unknown", ""),
            ("8 first 3", ""),
            ("9 done 1", "start 4 a0"),
        ],
    );
}

/// Its own rest stands, and the good word of who comes back ends it as ever.
#[test]
fn doubt_ends_no_rest_and_is_ended_by_a_good_verdict() {
    let before = ["0 arrive 1 on a", "0 fail 1 connect", "1 adopt a:1,down", "2 adopt a:1,unknown"];
    for (then, wanted) in
        [("3 adopt a:1,unknown", ""), ("3 adopt a:1", "start 2 a0"), ("3 adopt a:1,down", "")]
    {
        let steps = before.into_iter().chain(["2 arrive 2 on a", "? breaker a", then]);
        let said = run(1, "a:1", steps);
        assert!(said[5].starts_with("unknown, open "), "{said:?}");
        assert_eq!(said[6], wanted, "{then}");
    }
}

/// Before the first look at it nothing is held against a server, and its first good look ends no rest.
#[test]
fn one_that_nobody_looked_at_yet_is_trusted() {
    check(
        "a:2,unknown",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("1 fail 1 connect", "refuse 1 exhausted 1"),
            ("2 adopt a:2", ""),
            ("3 arrive 3 on a", ""),
        ],
    );
}
