//! `Began`: what runs though nobody asked takes a slot, whether one is free or not.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn a_newcomer_takes_a_slot_and_gives_it_back() {
    check(
        "a:2",
        &[
            ("0 began 1 a on a", ""),
            ("0 began 1 a on a", ""),
            ("? a", "1/2 busy, 0 cooling, 0 streaming, 0 waiting"),
            ("1 arrive 2 on a", "start 2 a1"),
            ("2 arrive 3 on a", ""),
            ("3 first 1", ""),
            ("4 done 1", "start 3 a0"),
        ],
    );
}

#[test]
fn one_that_waits_does_so_no_longer() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on ab", "start 2 b0"),
            ("0 arrive 3 on ab until 50", ""),
            ("1 began 3 b", ""),
            ("? position 3", "none"),
            ("? next", "never"),
            ("? b", "2/1 busy, 0 cooling, 0 streaming, 0 waiting"),
            ("2 arrive 4 on b", ""),
            // one more runs there than may
            ("3 done 2", ""),
            ("4 done 3", "start 4 b0"),
        ],
    );
}

#[test]
fn one_that_runs_elsewhere_moves() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 b0"),
            ("0 arrive 2 on b", ""),
            ("1 began 1 a", "start 2 b0"),
            ("? a", "1/1 busy, 0 cooling, 0 streaming, 0 waiting"),
            ("2 done 1", ""),
            ("? a", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn where_its_attempt_fails_it_goes_on_to_another() {
    check(
        "a:1 b:1",
        &[
            ("0 began 1 a on ab", ""),
            ("1 fail 1 status sent", "start 1 b0"),
            ("2 done 1", ""),
            ("? a", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn of_one_that_nobody_knows_the_slot_alone_counts() {
    check(
        "a:1",
        &[
            ("0 began 1 a", ""),
            ("1 arrive 2 on a", ""),
            ("2 done 1 output=90", "start 2 a0"),
            ("3 done 2", ""),
            ("4 began 3 a on bc", ""),
            ("? a", "1/1 busy, 0 cooling, 0 streaming, 0 waiting"),
            // there is nothing to try it with again
            ("5 fail 3 reset", "refuse 3 exhausted 1"),
            ("6 began 4 a", ""),
            ("7 cancel 4", ""),
            ("? a", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn a_backend_that_nobody_knows_keeps_its_books_until_it_is_empty() {
    check(
        "a:1",
        &[
            ("0 began 1 b on b", ""),
            ("? b", "1/0 busy, 0 cooling, 0 streaming, 0 waiting, left"),
            ("1 adopt a:1 b:1", ""),
            ("? b", "1/1 busy, 0 cooling, 0 streaming, 0 waiting"),
            ("2 arrive 2 on b", ""),
            ("3 done 1", "start 2 b0"),
            ("4 adopt a:1", ""),
            ("5 done 2", ""),
            ("? b", "gone"),
        ],
    );
}
