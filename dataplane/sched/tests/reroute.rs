//! `Reroute`: who waits may be offered other backends, and keeps its place; who runs may when it fails.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn a_new_backend_starts_who_waits_in_order() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("0 arrive 3 on a", ""),
            ("1 reroute 2 ab a:1 b:1", "start 2 b0"),
            ("2 done 1", "start 3 a0"),
        ],
    );
}

#[test]
fn it_keeps_its_place_among_those_it_joins() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on b", "start 2 b0"),
            ("0 arrive 3 on a", ""),
            ("0 arrive 4 on b", ""),
            ("1 reroute 3 ab a:1 b:1", ""),
            ("? position 4", "1"),
            ("2 done 2", "start 3 b0"),
            ("3 done 1", ""),
            ("4 done 3", "start 4 b0"),
        ],
    );
}

#[test]
fn one_that_leaves_and_one_that_comes_in_one_step_refuse_nobody() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("1 reroute 2 b b:1", "start 2 b0"),
            ("2 arrive 3 on a", "refuse 3 none"),
        ],
    );
}

#[test]
fn who_does_not_wait_is_not_moved() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 reroute 9 b a:1 b:1", ""),
            ("2 done 1", ""),
            ("3 reroute 1 b a:1 b:1", ""),
        ],
    );
}

#[test]
fn who_runs_stays_and_goes_there_when_its_attempt_fails() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 reroute 1 ab a:1 b:1", ""),
            ("2 fail 1 status", "start 1 b0"),
            ("3 arrive 2 on a", "start 2 a0"),
            ("4 reroute 2 ab a:1 b:1 c:1", ""),
            ("5 fail 2 status", ""),
            ("6 reroute 2 abc a:1 b:1 c:1", "start 2 c0"),
        ],
    );
}
