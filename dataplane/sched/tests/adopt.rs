//! `Adopt`: a new fleet is in force at once, and what runs is never cut.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn more_slots_start_who_waits() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("0 arrive 3 on a", ""),
            ("0 arrive 4 on a", ""),
            ("1 adopt a:3", "start 2 a1, start 3 a2"),
        ],
    );
}

#[test]
fn fewer_slots_cut_nothing_and_start_nothing_until_below() {
    check(
        "a:3",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on a", "start 3 a2"),
            ("0 arrive 4 on a", ""),
            ("1 adopt a:1", ""),
            ("? a", "3/1 busy, 0 cooling, 0 streaming, 1 waiting"),
            ("2 done 1", ""),
            ("3 done 2", ""),
            ("4 done 3", "start 4 a0"),
        ],
    );
}

#[test]
fn a_backend_that_left_and_came_back_still_counts_what_runs() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("1 adopt b:1", "refuse 2 none"),
            ("? a", "1/0 busy, 0 cooling, 0 streaming, 0 waiting, left"),
            ("1 arrive 3 on a", "refuse 3 none"),
            ("2 adopt a:1 b:1", ""),
            ("2 arrive 4 on a", ""),
            ("3 done 1", "start 4 a0"),
            ("4 adopt b:1", ""),
            ("5 done 4", ""),
            ("? a", "gone"),
        ],
    );
}

#[test]
fn health_decides_starts_and_not_who_waits() {
    check(
        "a:2",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on a until 90", ""),
            ("0 arrive 4 on a until 20", ""),
            ("1 adopt a:2,down", ""),
            ("2 done 1", ""),
            ("2 arrive 5 on a", "refuse 5 unhealthy"),
            ("20 wake", "refuse 4 deadline 20 back 5000"),
            ("30 adopt a:2", "start 3 a0"),
        ],
    );
}

#[test]
fn draining_takes_no_more_and_ends_empty() {
    check(
        "a:2 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", "start 2 a1"),
            ("0 arrive 3 on b", "start 3 b0"),
            ("0 arrive 4 on a", ""),
            ("0 arrive 5 on ab", ""),
            ("1 adopt a:2,drain b:1", "refuse 4 draining"),
            ("2 done 1", ""),
            ("3 done 3", "start 5 b0"),
            ("? a", "1/2 busy, 0 cooling, 0 streaming, 0 waiting"),
            ("4 done 2", ""),
            ("? a", "0/2 busy, 0 cooling, 0 streaming, 0 waiting, drained"),
            ("5 adopt a:2 b:1", ""),
            ("5 arrive 6 on a", "start 6 a0"),
        ],
    );
}

#[test]
fn who_waits_is_judged_anew_when_backends_and_limits_change() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on b", "start 2 b0"),
            ("0 arrive 3 on ab tokens 100", ""),
            ("0 arrive 4 on a tokens 100", ""),
            ("0 arrive 5 on ab tokens 10", ""),
            ("0 arrive 6 on b tokens 10", ""),
            ("1 adopt a:1,max=50 b:1", "refuse 4 long 100 50"),
            ("2 done 1", "start 5 a0"),
            ("3 adopt a:1,max=50", "refuse 3 long 100 50, refuse 6 none"),
        ],
    );
}

#[test]
fn a_new_backend_helps_who_named_it() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on ab", ""),
            ("0 arrive 3 on ab", ""),
            ("1 adopt a:1 b:1", "start 2 b0"),
            ("2 adopt a:1 b:1,drain", ""),
            ("3 adopt a:1,drain b:1,drain", "refuse 3 draining"),
        ],
    );
}

#[test]
fn several_free_backends_take_the_oldest_by_priority() {
    check(
        "a:0 b:0 c:0",
        &[
            ("0 arrive 1 on abc", ""),
            ("0 arrive 2 on ab", ""),
            ("0 arrive 3 on c", ""),
            ("0 arrive 4 on abc", ""),
            ("1 adopt a:1 b:1,prio=1 c:1,prio=2", "start 1 c0, start 2 b0, start 4 a0"),
            ("2 done 1", "start 3 c0"),
        ],
    );
}

#[test]
fn a_spare_gives_up_its_queue_and_keeps_what_runs() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("1 adopt a:1 spare", "refuse 2 spare"),
            ("1 arrive 3 on a", "refuse 3 spare"),
            ("? a", "1/1 busy, 0 cooling, 0 streaming, 0 waiting"),
            ("2 adopt a:1", ""),
            ("2 arrive 4 on a", ""),
            ("3 done 1", "start 4 a0"),
        ],
    );
}

#[test]
fn a_shorter_queue_turns_away_newcomers_only() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("0 arrive 3 on a", ""),
            ("1 adopt a:1 queue=1", ""),
            ("1 arrive 4 on a", "refuse 4 full 2 back 15000"),
            ("2 done 1", "start 2 a0"),
        ],
    );
}

#[test]
fn cooling_outlives_a_change_of_the_grace() {
    check(
        "a:1,grace=100",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on a", ""),
            ("1 aborted 1", ""),
            ("2 adopt a:1,grace=0", ""),
            ("3 adopt b:1", "refuse 2 none"),
            ("4 adopt a:1 b:1", ""),
            ("5 arrive 3 on a", ""),
            ("101 wake", "start 3 a0"),
        ],
    );
}
