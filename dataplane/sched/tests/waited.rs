//! `Waited`: who came earlier and is told of later stands where it came.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn one_that_is_told_of_late_stands_before_those_who_came_after_it() {
    check(
        "a:1",
        &[
            ("10 arrive 1 on a", "start 1 a0"),
            ("20 arrive 2 on a", ""),
            ("30 arrive 3 on a", ""),
            ("40 waited 4 since 15 on a", ""),
            ("40 waited 5 since 30 on a", ""),
            ("? position 4", "0"),
            ("? position 2", "1"),
            ("? position 5", "3"),
            ("50 done 1", "start 4 a0"),
            ("60 done 4", "start 2 a0"),
            ("70 done 2", "start 3 a0"),
            ("80 done 3", "start 5 a0"),
        ],
    );
}

#[test]
fn it_starts_at_once_where_a_slot_is_free_and_is_known_once() {
    check(
        "a:2",
        &[
            ("10 waited 1 since 0 on a", "start 1 a0"),
            ("10 waited 1 since 0 on a", ""),
            // nobody comes from the time to come
            ("10 waited 2 since 99 on a", "start 2 a1"),
            ("11 arrive 3 on a", ""),
            ("12 waited 4 since 99 on a", ""),
            ("13 done 1", "start 3 a0"),
        ],
    );
}

#[test]
fn it_does_not_go_where_it_failed() {
    check(
        "a:1 b:1",
        &[
            ("0 waited 1 since 0 on ab tried a", "start 1 b0"),
            ("1 waited 2 since 0 on a tried a", "refuse 2 none"),
            ("2 waited 3 since 0 on abcdef tried abcdef", "refuse 3 none"),
            ("3 waited 4 since 0 on ba tried b", "start 4 a0"),
        ],
    );
}

#[test]
fn its_deadline_and_its_age_count_from_when_it_came() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("90000 waited 2 since 10000 on a until 95000", ""),
            ("? next", "95000"),
            ("95000 wake", "refuse 2 deadline 85000 back 5000"),
        ],
    );
}

#[test]
fn one_of_another_backend_goes_by_its_own() {
    check(
        "a:1 b:1",
        &[
            ("10 arrive 1 on a", "start 1 a0"),
            ("20 arrive 2 on a", ""),
            ("30 waited 3 since 15 on b", "start 3 b0"),
            ("40 done 3", ""),
            ("50 done 1", "start 2 a0"),
        ],
    );
}
