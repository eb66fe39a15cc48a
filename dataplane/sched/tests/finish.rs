//! `Finish`: the slot goes to the oldest who may use it, at once or after the grace.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn done_and_unsent_free_the_slot_at_once() {
    for outcome in ["done", "unsent"] {
        check(
            "a:1,grace=250",
            &[
                ("0 arrive 1 on a", "start 1 a0"),
                ("0 arrive 2 on a", ""),
                (&format!("5 {outcome} 1"), "start 2 a0"),
            ],
        );
    }
}

#[test]
fn aborted_and_failed_cool_for_the_grace() {
    for outcome in ["aborted", "failed"] {
        check(
            "a:2,grace=250",
            &[
                ("0 arrive 1 on a", "start 1 a0"),
                ("0 arrive 2 on a", "start 2 a1"),
                ("0 arrive 3 on a", ""),
                (&format!("5 {outcome} 1"), ""),
                ("? a", "1/2 busy, 1 cooling, 0 streaming, 1 waiting"),
                ("? next", "255"),
                ("254 wake", ""),
                ("255 wake", "start 3 a0"),
                ("? next", "never"),
            ],
        );
    }
}

#[test]
fn without_a_grace_an_abort_frees_at_once() {
    check(
        "a:1",
        &[("0 arrive 1 on a", "start 1 a0"), ("0 arrive 2 on a", ""), ("5 aborted 1", "start 2 a0")],
    );
}

#[test]
fn a_grace_that_is_over_serves_without_a_wake() {
    check(
        "a:1,grace=10",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("0 aborted 1", ""),
            ("11 arrive 3 on a", "start 2 a0"),
        ],
    );
}

#[test]
fn the_oldest_of_all_who_may_goes_first() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on b", "start 2 b0"),
            ("1 arrive 3 on a", ""),
            ("2 arrive 4 on ab", ""),
            ("3 arrive 5 on b", ""),
            ("4 arrive 6 on ab", ""),
            ("5 done 2", "start 4 b0"),
            ("6 done 4", "start 5 b0"),
            ("7 done 1", "start 3 a0"),
            ("8 done 3", "start 6 a0"),
        ],
    );
}

#[test]
fn the_lowest_slot_is_taken_again() {
    check(
        "a:3",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on a", "start 3 a2"),
            ("1 done 3", ""),
            ("1 done 1", ""),
            ("2 arrive 4 on a", "start 4 a0"),
            ("2 arrive 5 on a", "start 5 a2"),
        ],
    );
}

#[test]
fn unknown_waiting_and_finished_tickets_are_ignored() {
    check(
        "a:1",
        &[
            ("0 done 9", ""),
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("0 done 2", ""),
            ("1 done 1", "start 2 a0"),
            ("1 done 1", ""),
            ("? a", "1/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}
