//! `Policy::CacheAffine`: a conversation goes where it is warm, and waits for that as long as it pays.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn the_next_turn_goes_where_the_conversation_is() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on ab says sxy", "start 1 a0"),
            ("0 arrive 2 on ab says szz", "start 2 b0"),
            ("2000 first 1", ""),
            ("2000 first 2", ""),
            ("4000 done 1 prompt=3000 cached=0 output=1000", ""),
            ("4000 done 2 prompt=3000 cached=0 output=1000", ""),
            ("5000 arrive 3 on ab says szzAu", "start 3 b0"),
            ("5000 arrive 4 on ab says sxyAu", "start 4 a0"),
        ],
    );
}

#[test]
fn a_busy_slot_is_waited_for_where_that_is_sooner() {
    // cold on b: ten seconds of prefill; on a: what is left of the running answer
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a says sxyxyxyxyx", "start 1 a0"),
            ("9000 first 1", ""),
            ("10000 done 1 prompt=10000 cached=0 output=30", ""),
            ("11000 arrive 2 on a says sxyxyxyxyxAt", "start 2 a0"),
            ("11100 first 2", ""),
            ("11200 arrive 3 on ab says sxyxyxyxyxAu", ""),
            ("12000 done 2 prompt=12000 cached=11000 output=30", "start 3 a0"),
        ],
    );
}

#[test]
fn nobody_waits_longer_than_half_of_what_it_saves() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a says sxyxyxyxyx", "start 1 a0"),
            ("10000 first 1", ""),
            ("11000 done 1 prompt=10000 cached=0 output=30", ""),
            ("12000 arrive 2 on a says sxyxyxyxyxAt", "start 2 a0"),
            ("13000 first 2", ""),
            ("13000 arrive 3 on ab says sxyxyxyxyxAu", ""),
            // it was to save ten seconds, and the answer goes on and on
            ("? next", "17985"),
            ("17985 wake", "start 3 b0"),
        ],
    );
}

#[test]
fn what_all_begin_with_pulls_nobody() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a says sx", "start 1 a0"),
            ("0 arrive 2 on b says sy", "start 2 b0"),
            ("1000 first 1", ""),
            ("1000 first 2", ""),
            ("2000 done 1 prompt=2000 cached=0 output=30", ""),
            ("2000 done 2 prompt=2000 cached=0 output=30", ""),
            ("2500 arrive 3 on ab says sv", "start 3 a0"),
            ("2500 arrive 4 on ab says sw", "start 4 b0"),
        ],
    );
}

#[test]
fn what_never_reached_the_server_changed_nothing_there() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a says xxxx", "start 1 a0"),
            ("1000 first 1", ""),
            ("2000 done 1 prompt=4000 cached=0 output=30", ""),
            ("400000 arrive 2 on a says yyyy", "start 2 a0"),
            ("400000 unsent 2", ""),
            ("400001 arrive 3 on ab says xxxxAz", "start 3 a0"),
        ],
    );
}

#[test]
fn a_pool_holds_what_all_slots_read() {
    check(
        "a:2,pool=90000 b:2,pool=90000",
        &[
            ("0 arrive 1 on a says sxxx", "start 1 a0"),
            ("0 arrive 2 on b says syyy", "start 2 b0"),
            ("4000 first 1", ""),
            ("4000 first 2", ""),
            ("5000 done 1 prompt=4000 cached=0 output=1000", ""),
            ("5000 done 2 prompt=4000 cached=0 output=1000", ""),
            ("6000 arrive 3 on ab says syyyAz", "start 3 b0"),
            ("6000 arrive 4 on ab says syyyAv", "start 4 b1"),
            ("6000 arrive 5 on ab says sxxxAz", "start 5 a0"),
        ],
    );
}

/// What a pool is found to hold of the first of three prompts that are more than it was thought to hold, after five answers
/// with this usage.
fn held_after(usage: &str) -> String {
    let mut steps = vec!["0 arrive 90 on a says tttttttt".to_owned()];
    steps.push("9000 done 90 prompt=8000 prefill=8000 cached=0".to_owned());
    for (ticket, letter) in (1..).zip(["b", "c", "d", "e", "f"]) {
        steps.push(format!("{ticket}0000 arrive {ticket} on a says {}", letter.repeat(8)));
        steps.push(format!("{ticket}9000 done {ticket} {usage}"));
    }
    for (ticket, letter) in (6..).zip(["x", "y", "z"]) {
        steps.push(format!("{ticket}0000 arrive {ticket} on a says {}", letter.repeat(8)));
        steps.push(format!("{ticket}9000 done {ticket} prompt=8000 cached=0"));
    }
    steps.push("100000 arrive 10 on a says xxxxxxxx".to_owned());
    steps.push("? cached 10".to_owned());
    let said = desk::run(1, "a:1,pool=20000", steps.iter().map(String::as_str));
    said.last().cloned().unwrap_or_default()
}

#[test]
fn an_answer_in_one_piece_tells_what_a_pool_holds_too() {
    assert_eq!(held_after("prompt=8000"), "4000");
    assert_eq!(held_after("prompt=8000 cached=8000"), "7999");
    // by the time that the server says it took for the rest
    assert_eq!(held_after("prompt=8000 prefill=100"), "7999");
}

#[test]
fn a_model_is_loaded_once_and_ends_no_generation() {
    check(
        "a:2,one b:2,one",
        &[
            ("0 arrive 1 on ab model 1 says x", "start 1 a0"),
            // the second waits for the load that runs, and takes the other slot
            ("0 arrive 2 on ab model 1 says y", "start 2 a1"),
            ("0 arrive 3 on ab model 1 says z", ""),
            ("0 arrive 4 on ab model 2 says x", "start 4 b0"),
            ("10000 first 1", ""),
            ("10000 first 2", ""),
            ("11000 done 1 prompt=1000 cached=0 output=30", "start 3 a0"),
            ("12000 arrive 5 on a model 2 says y", ""),
            ("12000 done 2 prompt=1000 cached=0 output=30", ""),
            ("12000 first 3", ""),
            ("13000 done 3 prompt=1000 cached=0 output=30", "start 5 a0"),
        ],
    );
}

#[test]
fn weighing_is_bounded_however_many_wait() {
    let mut steps: Vec<(String, &str)> = Vec::new();
    for ticket in 0..8 {
        steps.push((format!("0 arrive {ticket} on ab says x tokens 20000"), ""));
    }
    for ticket in 8..500 {
        steps.push((format!("1 arrive {ticket} on ab says x tokens 20000"), ""));
    }
    let before = desk::run(1, "a:4 b:4", steps.iter().map(|(step, _)| step.as_str()).chain(["? weighed"]));
    let after = steps.iter().map(|(step, _)| step.as_str()).chain(["9000 done 1", "? weighed"]);
    let after = desk::run(1, "a:4 b:4", after);
    let weighed = |said: &[String]| said.last().and_then(|last| last.parse::<u64>().ok()).unwrap();
    assert!(weighed(&after) - weighed(&before) <= 17 * 8 * 2, "{} {}", weighed(&before), weighed(&after));
}
