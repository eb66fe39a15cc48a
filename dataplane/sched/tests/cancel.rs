//! `Cancel`: a waiting ticket leaves without a decision, a started one gives its slot back at once.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn a_waiting_ticket_leaves_and_others_move_up() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a until 50", ""),
            ("0 arrive 3 on a until 90", ""),
            ("1 cancel 2", ""),
            ("? position 3", "0"),
            ("? next", "90"),
            ("50 wake", ""),
            ("60 done 1", "start 3 a0"),
        ],
    );
}

#[test]
fn a_started_ticket_ends_as_unsent() {
    check(
        "a:1,grace=250",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("1 cancel 1", "start 2 a0"),
            ("2 done 1", ""),
        ],
    );
}

#[test]
fn at_the_deadline_the_refusal_comes_first() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a until 9", ""),
            ("9 cancel 2", "refuse 2 deadline 9 back 5000"),
        ],
    );
}

#[test]
fn an_unknown_ticket_is_ignored() {
    check("a:1", &[("0 cancel 7", ""), ("0 arrive 7 on a", "start 7 a0"), ("0 cancel 8", "")]);
}
