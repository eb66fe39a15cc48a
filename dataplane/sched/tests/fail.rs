//! `Fail`: an attempt failed before any content, and another backend may take the request.

#[cfg(test)]
mod desk;

use desk::check;

#[test]
fn another_backend_takes_it() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("1 fail 1 status", "start 1 b0"),
            ("2 done 1", ""),
            ("? a", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn never_the_same_twice() {
    check(
        "a:2,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("1 fail 1 reset", "start 1 b0"),
            ("2 fail 1 reset", "refuse 1 exhausted 2"),
            ("3 arrive 2 on a", "start 2 a0"),
        ],
    );
}

#[test]
fn it_waits_in_its_old_place() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 arrive 2 on ab", "start 2 a0"),
            ("2 arrive 3 on b", ""),
            ("3 fail 2 status", ""),
            ("? position 2", "0"),
            ("? position 3", "1"),
            ("4 done 1", "start 2 b0"),
            ("5 done 2", "start 3 b0"),
        ],
    );
}

#[test]
fn its_deadline_stays() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 arrive 2 on ab until 50", "start 2 a0"),
            ("3 fail 2 status", ""),
            ("? next", "50"),
            ("50 wake", "refuse 2 deadline 49 back 5000"),
        ],
    );
}

#[test]
fn three_at_most() {
    check(
        "a:1,prio=4 b:1,prio=3 c:1,prio=2 d:1,prio=1",
        &[
            ("0 arrive 1 on abcd", "start 1 a0"),
            ("1 fail 1 status", "start 1 b0"),
            ("2 fail 1 status", "start 1 c0"),
            ("3 fail 1 status", "refuse 1 exhausted 3"),
        ],
    );
}

#[test]
fn a_slot_that_was_sent_to_cools() {
    check(
        "a:1,grace=100,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("1 fail 1 timeout sent", "start 1 b0"),
            ("2 arrive 2 on a", ""),
            ("101 wake", "start 2 a0"),
        ],
    );
}

#[test]
fn one_that_waits_for_another_try_can_be_cancelled() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 arrive 2 on ab", "start 2 a0"),
            ("2 fail 2 status", ""),
            ("3 cancel 2", ""),
            ("4 done 1", ""),
            ("? b", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn unknown_and_ended_ones_are_ignored() {
    check(
        "a:1",
        &[
            ("0 fail 7 reset", ""),
            ("1 arrive 1 on a", "start 1 a0"),
            ("2 done 1", ""),
            ("3 fail 1 reset", ""),
        ],
    );
}
