//! `FirstToken`: is counted once and decides nothing.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn counts_each_running_request_once() {
    check(
        "a:2",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on a", ""),
            ("1 first 1", ""),
            ("1 first 1", ""),
            ("1 first 3", ""),
            ("1 first 9", ""),
            ("? a", "2/2 busy, 0 cooling, 1 streaming, 1 waiting"),
            ("2 done 1", "start 3 a0"),
            ("? a", "2/2 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}
