//! Who would be next at a backend if a slot of it came free.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn those_who_wait_for_it_in_their_order() {
    check(
        "a:1 b:1",
        &[
            ("? front a", ""),
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on b", "start 2 b0"),
            ("1 arrive 3 on a class batch", ""),
            ("2 arrive 4 on ab", ""),
            ("3 arrive 5 on b", ""),
            ("4 arrive 6 on a class interactive", ""),
            ("? front a", "6 4 3"),
            ("? front b", "4 5"),
            ("? front c", ""),
            ("5 done 1", "start 6 a0"),
            ("? front a", "4 3"),
        ],
    );
}

#[test]
fn who_would_rather_wait_for_its_warm_server_is_not_next_elsewhere() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a says abcdefgh", "start 1 a0"),
            ("0 arrive 2 on b says xyzuvwtr", "start 2 b0"),
            ("8000 first 1", ""),
            ("8000 first 2", ""),
            ("8100 arrive 3 on ab says abcdefghIj", ""),
            ("8200 arrive 4 on ab says 12345678", ""),
            ("? front a", "3 4"),
            ("? front b", "4"),
            ("8300 done 2", "start 4 b0"),
            ("8400 done 1", "start 3 a0"),
        ],
    );
}

#[test]
fn nobody_is_next_where_nothing_may_start() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a until 9000", ""),
            ("1 fail 1 connect", "refuse 1 exhausted 1"),
            ("? front a", ""),
            ("3000 wake", "start 2 a0"),
        ],
    );
}
