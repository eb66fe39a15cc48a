//! `Close`: nothing starts any more, who waits is told, what runs goes on.

#[cfg(test)]
mod desk;

use desk::check;

#[test]
fn the_queue_is_refused_and_running_work_goes_on() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 arrive 2 on a", ""),
            ("2 close", "refuse 2 closing back 10000"),
            ("3 arrive 3 on a", "refuse 3 closing back 5000"),
            ("4 done 1", ""),
            ("5 arrive 4 on a", "refuse 4 closing back 1000"),
            ("? a", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn an_attempt_that_fails_is_not_repeated() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("1 close", ""),
            ("2 fail 1 status", "refuse 1 closing back 5000"),
        ],
    );
}
