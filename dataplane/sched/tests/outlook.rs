//! What those who wait and those who are refused are told: by the pace at which slots come free.

#[cfg(test)]
mod desk;

use desk::check;

#[test]
fn the_pace_is_learnt_from_what_ended() {
    check(
        "a:1 queue=2",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("? outlook 1", "none"),
            ("? outlook 2", "0 in 5000"),
            ("30000 done 1", "start 2 a0"),
            ("30000 arrive 3 on a", ""),
            ("30000 arrive 4 on a", ""),
            ("? outlook 3", "0 in 30000"),
            ("? outlook 4", "1 in 60000"),
            ("30001 arrive 5 on a", "refuse 5 full 2 back 90000"),
            ("30002 close", "refuse 3 closing back 90000, refuse 4 closing back 90000"),
        ],
    );
}

#[test]
fn more_slots_and_more_backends_drain_faster() {
    check(
        "a:1 b:3",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on b", "start 2 b0"),
            ("0 arrive 3 on b", "start 3 b1"),
            ("0 arrive 4 on b", "start 4 b2"),
            ("0 arrive 5 on ab", ""),
            ("0 arrive 6 on a", ""),
            ("0 arrive 7 on b", ""),
            ("? outlook 5", "0 in 1250"),
            ("? outlook 6", "1 in 10000"),
            ("? outlook 7", "1 in 3333"),
        ],
    );
}

#[test]
fn nobody_comes_back_at_once_nor_after_five_minutes() {
    check(
        "a:1 queue=0",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 done 1", ""),
            ("1 arrive 2 on a", "start 2 a0"),
            ("2 arrive 3 on a", "refuse 3 full 0 back 1000"),
            ("9000000 done 2", ""),
            ("9000000 arrive 4 on a", "start 4 a0"),
            ("9000000 arrive 5 on a", "refuse 5 full 0 back 300000"),
        ],
    );
}

#[test]
fn what_never_reached_a_server_says_nothing_of_its_pace() {
    check(
        "a:1 queue=0",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 unsent 1", ""),
            ("2 arrive 2 on a", "start 2 a0"),
            ("3 cancel 2", ""),
            ("4 arrive 3 on a", "start 3 a0"),
            ("5 arrive 4 on a", "refuse 4 full 0 back 5000"),
        ],
    );
}
