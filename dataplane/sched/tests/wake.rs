//! `Wake`: deadlines are kept to the moment, and `next_wake` names the first thing to come.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn a_deadline_is_met_exactly() {
    check(
        "a:1",
        &[
            ("? next", "never"),
            ("0 arrive 1 on a until 5", "start 1 a0"),
            ("? next", "never"),
            ("2 arrive 2 on a until 30", ""),
            ("3 arrive 3 on a until 10", ""),
            ("? next", "10"),
            ("9 wake", ""),
            ("10 wake", "refuse 3 deadline 7 back 10000"),
            ("? next", "30"),
            ("31 wake", "refuse 2 deadline 29 back 5000"),
            ("? next", "never"),
            ("40 done 1", ""),
        ],
    );
}

#[test]
fn any_event_keeps_the_deadlines() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a until 10", ""),
            ("0 arrive 3 on a until 11", ""),
            ("10 done 1", "refuse 2 deadline 10 back 10000, start 3 a0"),
        ],
    );
}

#[test]
fn a_wake_with_nothing_due_does_nothing() {
    check("a:1", &[("0 wake", ""), ("5 wake", ""), ("3 wake", "")]);
}
