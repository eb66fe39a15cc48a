//! Whose turn it is: classes first, then keys by the slot time they had, then arrival.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn a_flood_of_one_key_does_not_keep_others_out() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a key 1", "start 1 a0"),
            ("0 arrive 2 on a key 1", ""),
            ("0 arrive 3 on a key 1", ""),
            ("1000 arrive 4 on a key 2", ""),
            // key 2 began where key 1 was thought to be; that had 70 seconds since
            ("70000 first 1", ""),
            ("70000 done 1", "start 4 a0"),
            ("71000 done 4", "start 2 a0"),
            ("72000 arrive 5 on a key 2", ""),
            // it has waited for more than a minute: that comes first
            ("73000 done 2", "start 3 a0"),
            ("74000 done 3", "start 5 a0"),
        ],
    );
}

#[test]
fn within_its_quantum_each_waits_for_the_older() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a key 1", "start 1 a0"),
            ("0 arrive 2 on a key 1", ""),
            ("0 arrive 3 on a key 2", ""),
            ("5000 done 1", "start 2 a0"),
            ("10000 done 2", "start 3 a0"),
        ],
    );
}

#[test]
fn classes_come_first_until_one_has_waited_long() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a class batch", ""),
            ("0 arrive 3 on a", ""),
            ("0 arrive 4 on a class interactive", ""),
            ("100 done 1", "start 4 a0"),
            ("200 done 4", "start 3 a0"),
            ("70000 arrive 5 on a", ""),
            ("70000 arrive 6 on a class interactive", ""),
            ("70000 done 3", "start 6 a0"),
            // the batch request has waited for more than a minute: it counts as a normal one, and is older
            ("70100 done 6", "start 2 a0"),
            ("70200 done 2", "start 5 a0"),
        ],
    );
}
