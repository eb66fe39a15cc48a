//! `Arrive`: starts at once, waits in order, or is refused with the reason.

#[cfg(test)]
mod desk;
use desk::{check, run};

#[test]
fn starts_at_once_and_then_waits() {
    check(
        "a:2",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on a", ""),
            ("0 arrive 4 on a", ""),
            ("? a", "2/2 busy, 0 cooling, 0 streaming, 2 waiting"),
            ("? position 3", "0"),
            ("? position 4", "1"),
            ("? position 1", "none"),
        ],
    );
}

#[test]
fn prefers_priority_then_the_larger_free_share() {
    check(
        "a:4 b:1,prio=1 c:2",
        &[
            ("0 arrive 1 on abc", "start 1 b0"),
            ("0 arrive 2 on a", "start 2 a0"),
            ("0 arrive 3 on abc", "start 3 c0"),
            ("0 arrive 4 on abc", "start 4 a1"),
        ],
    );
}

#[test]
fn ties_fall_by_the_seed() {
    let first = |seed| run(seed, "a:1 b:1", ["0 arrive 1 on ab"]).concat();
    let picks: Vec<_> = (0..32).map(first).collect();
    assert_eq!(picks, (0..32).map(first).collect::<Vec<_>>(), "the same seed, the same choice");
    assert!(picks.iter().any(|pick| pick == "start 1 a0") && picks.iter().any(|pick| pick == "start 1 b0"));
}

#[test]
fn an_idle_model_does_not_wait_behind_a_busy_one() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("0 arrive 3 on a", ""),
            ("0 arrive 4 on b", "start 4 b0"),
            ("0 arrive 5 on ab", ""),
            ("? position 5", "2"),
            ("1 done 4", "start 5 b0"),
        ],
    );
}

#[test]
fn a_full_queue_refuses_only_who_would_wait() {
    check(
        "a:1 b:1 queue=1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("0 arrive 3 on a", "refuse 3 full 1 back 10000"),
            ("0 arrive 4 on b", "start 4 b0"),
            ("1 cancel 2", ""),
            ("1 arrive 5 on b", ""),
        ],
    );
    check("a:0 queue=0", &[("0 arrive 1 on a", "refuse 1 full 0 back 5000")]);
}

#[test]
fn a_prompt_goes_where_it_fits_with_the_margin() {
    check(
        "a:2,max=110 b:2,max=220 c:2,max=50",
        &[
            ("0 arrive 1 on a tokens 100", "start 1 a0"),
            ("0 arrive 2 on a tokens 101", "refuse 2 long 101 110"),
            ("0 arrive 3 on ab tokens 200", "start 3 b0"),
            ("0 arrive 4 on abc tokens 201", "refuse 4 long 201 220"),
            ("0 arrive 5 on c tokens 4294967295", "refuse 5 long 4294967295 50"),
        ],
    );
}

#[test]
fn a_long_prompt_waits_only_for_where_it_fits() {
    check(
        "a:1,max=100 b:1",
        &[
            ("0 arrive 1 on ab tokens 500", "start 1 b0"),
            ("0 arrive 2 on ab tokens 500", ""),
            ("0 arrive 3 on ab tokens 5", "start 3 a0"),
            ("0 arrive 4 on ab tokens 5", ""),
            ("1 done 3", "start 4 a0"),
            ("2 done 1", "start 2 b0"),
        ],
    );
}

#[test]
fn refusals_name_their_reason() {
    let cases = [
        ("a:1", "arrive 1 on z", "refuse 1 none"),
        ("a:1", "arrive 1", "refuse 1 none"),
        ("a:1,down", "arrive 1 on a", "refuse 1 unhealthy"),
        ("a:1,down b:1,down", "arrive 1 on abz", "refuse 1 unhealthy"),
        ("a:1,drain", "arrive 1 on a", "refuse 1 draining"),
        ("a:1,drain b:1,down", "arrive 1 on ab", "refuse 1 unhealthy"),
        ("a:1,drain,max=99 b:1,max=5", "arrive 1 on ab tokens 50", "refuse 1 draining"),
        ("a:1,down,max=5", "arrive 1 on a tokens 50", "refuse 1 long 50 5"),
        ("a:1 spare", "arrive 1 on a", "refuse 1 spare"),
        ("a:0", "arrive 1 on a until 0", "refuse 1 deadline 0 back 5000"),
        ("a:1", "arrive 1 on a until 0", "start 1 a0"),
        ("a:1,down b:1", "arrive 1 on ab", "start 1 b0"),
        ("", "arrive 1 on a", "refuse 1 none"),
    ];
    for (fleet, event, expected) in cases {
        check(fleet, &[(&format!("5 {event}"), expected)]);
    }
}

#[test]
fn a_second_arrival_of_a_live_ticket_is_ignored() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 1 on a", ""),
            ("0 arrive 2 on a", ""),
            ("0 arrive 2 on a", ""),
            ("? a", "1/1 busy, 0 cooling, 0 streaming, 1 waiting"),
            ("1 done 1", "start 2 a0"),
            ("2 done 2", ""),
        ],
    );
}

#[test]
fn of_two_candidates_on_one_backend_the_first_counts() {
    check(
        "a:1",
        &[("0 arrive 1 on aa", "start 1 a0"), ("0 arrive 2 on aaa", ""), ("1 done 1", "start 2 a0")],
    );
}

#[test]
fn a_clock_that_steps_back_stands_still() {
    check(
        "a:1,grace=10",
        &[
            ("100 arrive 1 on a", "start 1 a0"),
            ("50 arrive 2 on a until 120", ""),
            ("90 aborted 1", ""),
            ("? next", "110"),
            ("110 wake", "start 2 a0"),
        ],
    );
}
