//! `Fail`: an attempt failed before any content, and another backend may take the request.

#[cfg(test)]
mod desk;

use desk::{check, run};

#[test]
fn another_backend_takes_it() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("1 fail 1 status", "start 1 b0"),
            ("2 done 1", ""),
            ("? a", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn never_the_same_twice() {
    check(
        "a:2,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("1 fail 1 reset", "start 1 b0"),
            ("2 fail 1 reset", "refuse 1 exhausted 2"),
            ("3 arrive 2 on a", "start 2 a0"),
        ],
    );
}

#[test]
fn it_waits_in_its_old_place() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 arrive 2 on ab", "start 2 a0"),
            ("2 arrive 3 on b", ""),
            ("3 fail 2 status", ""),
            ("? position 2", "0"),
            ("? position 3", "1"),
            ("4 done 1", "start 2 b0"),
            ("5 done 2", "start 3 b0"),
        ],
    );
}

#[test]
fn its_deadline_stays() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 arrive 2 on ab until 50", "start 2 a0"),
            ("3 fail 2 status", ""),
            ("? next", "50"),
            ("50 wake", "refuse 2 deadline 49 back 5000"),
        ],
    );
}

#[test]
fn three_at_most() {
    check(
        "a:1,prio=4 b:1,prio=3 c:1,prio=2 d:1,prio=1",
        &[
            ("0 arrive 1 on abcd", "start 1 a0"),
            ("1 fail 1 status", "start 1 b0"),
            ("2 fail 1 status", "start 1 c0"),
            ("3 fail 1 status", "refuse 1 exhausted 3"),
        ],
    );
}

#[test]
fn a_slot_that_was_sent_to_cools() {
    check(
        "a:1,grace=100,prio=1 b:1",
        &[
            ("0 arrive 1 on ab", "start 1 a0"),
            ("1 fail 1 timeout sent", "start 1 b0"),
            ("2 arrive 2 on a", ""),
            ("101 wake", "start 2 a0"),
        ],
    );
}

#[test]
fn one_that_waits_for_another_try_can_be_cancelled() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 arrive 2 on ab", "start 2 a0"),
            ("2 fail 2 status", ""),
            ("3 cancel 2", ""),
            ("4 done 1", ""),
            ("? b", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn unknown_and_ended_ones_are_ignored() {
    check(
        "a:1",
        &[
            ("0 fail 7 reset", ""),
            ("1 arrive 1 on a", "start 1 a0"),
            ("2 done 1", ""),
            ("3 fail 1 reset", ""),
        ],
    );
}

#[test]
fn the_budget_ends_retries_and_time_brings_them_back() {
    let mut steps = Vec::new();
    for turn in 0..300 {
        let (one, two, three) = (3 * turn, 3 * turn + 1, 3 * turn + 2);
        steps.extend([
            format!("0 arrive {one} on ab"),
            format!("0 fail {one} status"),
            format!("0 done {one}"),
        ]);
        // two of three are served, so that the breaker stays closed
        for other in [two, three] {
            steps.extend([format!("0 arrive {other} on a"), format!("0 done {other}")]);
        }
    }
    let ask = ["? retries", "1000 wake", "? retries"].map(str::to_owned);
    let said = run(1, "a:1,prio=1 b:1", steps.iter().chain(&ask).map(String::as_str));
    let spent = said.iter().position(|said| said.ends_with("exhausted 1 by the budget")).unwrap();
    // a hundred saved up; each turn of seven steps earns three fifths of a retry and costs one
    assert!((240..=255).contains(&(spent / 7)), "{}", spent / 7);
    assert_eq!((said[2100].as_str(), said[2102].as_str()), ("0", "2"));
}

#[test]
fn it_comes_back_above_the_bound_of_the_queue() {
    check(
        "a:1,prio=1 b:1 queue=1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 arrive 2 on ab", "start 2 a0"),
            ("2 arrive 3 on b", ""),
            ("3 fail 2 status", ""),
            ("4 arrive 4 on b", "refuse 4 full 2 back 15000"),
            ("5 done 1", "start 2 b0"),
        ],
    );
}

#[test]
fn it_overtakes_in_a_line_of_its_own_kind() {
    // 2 joins the line of 3, which is younger, and that of nobody once 3 is gone
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on b", "start 1 b0"),
            ("1 arrive 2 on ab", "start 2 a0"),
            ("2 arrive 3 on b", ""),
            ("3 done 1", "start 3 b0"),
            ("4 arrive 4 on b", ""),
            ("5 fail 2 status", ""),
            ("? position 4", "1"),
            ("6 done 3", "start 2 b0"),
            ("7 done 2", "start 4 b0"),
        ],
    );
}

#[test]
fn who_waits_for_another_try_is_told_when_nothing_is_left() {
    for fleet in ["a:1", "a:1 b:1,drain", "a:1 b:1,max=5"] {
        check(
            "a:1,prio=1 b:1",
            &[
                ("0 arrive 1 on b", "start 1 b0"),
                ("1 arrive 2 on ab", "start 2 a0"),
                ("2 fail 2 status", ""),
                (&format!("3 adopt {fleet}"), "refuse 2 exhausted 1"),
            ],
        );
    }
}

#[test]
fn nothing_is_tried_again_after_the_first_content() {
    check(
        "a:1,prio=1 b:1",
        &[("0 arrive 1 on ab", "start 1 a0"), ("1 first 1", ""), ("2 fail 1 reset", "refuse 1 exhausted 1")],
    );
}
