//! `Share` and `Recall`: from one data plane to several, and back.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn what_was_cut_off_cools_no_longer_where_others_wait_for_engines() {
    check(
        "a:1,grace=250",
        &[
            ("0 share", ""),
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("1 aborted 1", "start 2 a0"),
            ("2 own", ""),
            ("3 aborted 2", ""),
            ("? a", "0/1 busy, 1 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn all_is_forgotten_but_what_was_learned() {
    check(
        "a:2,grace=250,pool=100000 b:1,pool=100000",
        &[
            ("0 arrive 1 on a says abcd", "start 1 a0"),
            ("0 began 9 b", ""),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on a until 90000", ""),
            ("4000 aborted 2", ""),
            ("? held", "1 a0, 9 b0, a1 until 4250"),
            ("4001 recall", ""),
            ("? held", ""),
            ("? next", "never"),
            ("? position 3", "none"),
            ("? a", "0/2 busy, 0 cooling, 0 streaming, 0 waiting"),
            // what runs is told anew, and its end is learned from
            ("4001 began 1 a on a says abcd", ""),
            ("4002 done 1", ""),
            ("4003 arrive 4 on ab says abcde", "start 4 a0"),
            ("? cached 4", "4000"),
        ],
    );
}
