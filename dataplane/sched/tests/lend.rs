//! `Slots`: how many slots of a backend take part.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn fewer_take_part_until_more_do() {
    check(
        "a:3",
        &[
            ("0 slots a 1", ""),
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("0 arrive 3 on a", ""),
            ("0 arrive 4 on a", ""),
            ("1 slots a 2", "start 2 a1"),
            ("2 slots a 0", ""),
            ("3 done 1", ""),
            ("? a", "1/0 busy, 0 cooling, 0 streaming, 2 waiting"),
            ("4 slots a all", "start 3 a0, start 4 a2"),
        ],
    );
}

#[test]
fn a_new_fleet_does_not_change_it() {
    check(
        "a:1",
        &[
            ("0 slots a 2", ""),
            ("0 slots b 1", ""),
            ("1 adopt a:4 b:4", ""),
            ("2 arrive 1 on a", "start 1 a0"),
            ("2 arrive 2 on a", "start 2 a1"),
            ("2 arrive 3 on a", ""),
            ("3 arrive 4 on b", "start 4 b0"),
            ("3 arrive 5 on b", ""),
            ("4 recall", ""),
            ("? a", "0/4 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn what_a_server_keeps_is_not_forgotten_with_them() {
    check(
        "a:2 b:2",
        &[
            ("0 arrive 1 on a says abcd", "start 1 a0"),
            ("1 done 1", ""),
            ("2 slots a 0", ""),
            ("3 slots a 1", ""),
            ("4 arrive 2 on ab says abcd", "start 2 a0"),
            ("? cached 2", "3999"),
        ],
    );
}
