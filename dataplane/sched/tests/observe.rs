//! `Observe`: an engine that is known idle gives its cooling slots back before the grace is over.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn idle_ends_the_grace() {
    check(
        "a:2,grace=250 b:1,grace=250",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on b", "start 3 b0"),
            ("0 arrive 4 on a", ""),
            ("0 arrive 5 on b", ""),
            ("1 aborted 1", ""),
            ("1 aborted 3", ""),
            ("2 busy a", ""),
            ("3 idle a", "start 4 a0"),
            ("3 idle a", ""),
            ("? next", "251"),
            ("251 wake", "start 5 b0"),
        ],
    );
}

#[test]
fn running_requests_and_strangers_do_not_care() {
    check(
        "a:1",
        &[
            ("0 idle z", ""),
            ("0 idle a", ""),
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("1 idle a", ""),
            ("? a", "1/1 busy, 0 cooling, 0 streaming, 1 waiting"),
        ],
    );
}

#[test]
fn the_last_cooling_slot_of_a_backend_that_left_forgets_it() {
    check(
        "a:1,grace=250 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 adopt b:1", ""),
            ("1 aborted 1", ""),
            ("? a", "0/0 busy, 1 cooling, 0 streaming, 0 waiting, left"),
            ("2 idle a", ""),
            ("? a", "gone"),
            ("? next", "never"),
        ],
    );
}
