//! The other policies: at once, each by its own measure.

#[cfg(test)]
mod desk;
use desk::{check, run};

const POLICIES: [&str; 8] = ["affinity", "priority", "turns", "weights", "busy", "latency", "tokens", "long"];

/// Under every policy; `a` is what each would like best.
fn under_each(fleet: &str, steps: &[(&str, &str)]) {
    for policy in POLICIES {
        let steps: Vec<(String, &str)> =
            steps.iter().map(|(step, said)| (step.replace("POLICY", policy), *said)).collect();
        let told = run(1, fleet, steps.iter().map(|(step, _)| step.as_str()));
        for ((step, expected), said) in steps.iter().zip(told) {
            assert_eq!(said, *expected, "{policy}: {step}");
        }
    }
}

#[test]
fn no_policy_sends_a_prompt_where_it_is_too_long() {
    under_each(
        "a:4,prio=9,max=100 b:1",
        &[
            ("0 arrive 1 on ab tokens 900 by POLICY", "start 1 b0"),
            ("0 arrive 2 on ab tokens 900 by POLICY", ""),
            ("0 arrive 3 on a tokens 900 by POLICY", "refuse 3 long 900 100"),
            ("10 done 1", "start 2 b0"),
        ],
    );
}

#[test]
fn no_policy_starts_on_what_drains_or_is_down() {
    for fleet in ["a:4,prio=9,drain b:1", "a:4,prio=9,down b:1"] {
        under_each(
            fleet,
            &[
                ("0 arrive 1 on ab by POLICY", "start 1 b0"),
                ("0 arrive 2 on ab by POLICY", ""),
                ("10 done 1", "start 2 b0"),
            ],
        );
    }
}

#[test]
fn no_policy_starts_on_what_rests() {
    under_each(
        "a:4,prio=9 b:1",
        &[
            ("0 arrive 9 on a by POLICY", "start 9 a0"),
            ("0 fail 9 connect", "refuse 9 exhausted 1"),
            ("0 arrive 1 on ab by POLICY", "start 1 b0"),
            ("0 arrive 2 on ab by POLICY", ""),
            ("10 done 1", "start 2 b0"),
        ],
    );
}

#[test]
fn no_policy_starts_where_all_slots_are_taken() {
    under_each(
        "a:1,prio=9 b:1",
        &[
            ("0 arrive 8 on a by POLICY", "start 8 a0"),
            ("0 arrive 1 on ab by POLICY", "start 1 b0"),
            ("0 arrive 2 on ab by POLICY", ""),
            ("10 done 8", "start 2 a0"),
        ],
    );
}

#[test]
fn no_policy_goes_where_it_was_before() {
    for policy in POLICIES {
        let arrive = format!("0 arrive 1 on ab by {policy}");
        let told = run(1, "a:2 b:2", [arrive.as_str(), "10 fail 1 status sent", "20 fail 1 status sent"]);
        let (first, second) = (told[0].as_str(), told[1].as_str());
        assert!(first.starts_with("start 1 ") && second.starts_with("start 1 "), "{policy}: {told:?}");
        assert!(first != second && told[2] == "refuse 1 exhausted 2", "{policy}: {told:?}");
    }
}

#[test]
fn under_each_policy_the_reserve_is_left_alone_while_another_can() {
    under_each(
        "a:1 b:4,prio=9",
        &[
            ("0 arrive 1 on a/b by POLICY", "start 1 a0"),
            // busy is no reason
            ("0 arrive 2 on a/b by POLICY", ""),
            // who waits for a does not keep others from b
            ("0 arrive 3 on b/a by POLICY", "start 3 b0"),
            ("10 done 1", "start 2 a0"),
            ("20 adopt a:1,down b:4,prio=9", ""),
            ("20 arrive 4 on a/b by POLICY", "start 4 b1"),
            ("20 arrive 5 on a//b by POLICY", "start 5 b2"),
        ],
    );
}

#[test]
fn who_waits_turns_to_the_reserve_when_no_other_can() {
    under_each(
        "a:1 b:2",
        &[
            ("0 arrive 1 on a/b by POLICY", "start 1 a0"),
            ("0 arrive 2 on a/b by POLICY", ""),
            ("10 adopt a:1,down b:2", "start 2 b0"),
            ("20 adopt a:1 b:2", ""),
            // its own first, whose attempt fails: then the reserve, and so for those who wait
            ("20 arrive 3 on a/b by POLICY", ""),
            ("30 fail 1 connect", "start 1 b1"),
            ("40 done 1", "start 3 b1"),
        ],
    );
    // of several in reserve the lowest that can
    under_each("a:1,down b:1,down c:1", &[("0 arrive 1 on a/b/c by POLICY", "start 1 c0")]);
    under_each("a:1,max=5 b:1 c:1,prio=9", &[("0 arrive 1 on a/b/c tokens 9 by POLICY", "start 1 b0")]);
}

#[test]
fn while_one_request_tries_a_backend_out_the_others_take_the_reserve() {
    under_each(
        "a:1 b:2",
        &[
            ("0 arrive 1 on a/b by POLICY", "start 1 a0"),
            ("0 fail 1 connect", "start 1 b0"),
            ("5000 done 1", ""),
            ("5000 arrive 2 on a/b by POLICY", "start 2 a0"),
            ("5000 arrive 3 on a/b by POLICY", "start 3 b0"),
            ("5100 first 2", ""),
            ("5100 arrive 4 on a/b by POLICY", ""),
            ("5200 done 2", "start 4 a0"),
        ],
    );
}

#[test]
fn many_who_wait_for_one_target_keep_nobody_from_another() {
    let mut steps: Vec<(String, &str)> = vec![
        ("0 arrive 100 on a".to_owned(), "start 100 a0"),
        ("0 arrive 101 on b".to_owned(), "start 101 b0"),
    ];
    // more than are looked at at once
    steps.extend((0..40).map(|number| (format!("0 arrive {number} on a/b key {number}"), "")));
    steps.push(("0 arrive 50 on b/a".to_owned(), ""));
    steps.push(("10 done 101".to_owned(), "start 50 b0"));
    let steps: Vec<(&str, &str)> = steps.iter().map(|(step, said)| (step.as_str(), *said)).collect();
    check("a:1 b:1", &steps);
}

#[test]
fn in_turn() {
    check(
        "a:2 b:2,prio=9 c:2",
        &[
            ("0 arrive 1 on a by turns", "start 1 a0"),
            ("0 arrive 2 on b by turns", "start 2 b0"),
            ("0 arrive 3 on abc by turns", "start 3 c0"),
            ("1 done 3", ""),
            ("1 arrive 4 on abc by turns", "start 4 a1"),
            ("1 arrive 5 on ac by turns", "start 5 c0"),
        ],
    );
}

#[test]
fn by_the_share_of_busy_slots() {
    check(
        "a:1,prio=9 b:4",
        &[
            ("0 arrive 1 on b by busy", "start 1 b0"),
            ("0 arrive 2 on ab by busy", "start 2 a0"),
            ("0 arrive 3 on ab by busy", "start 3 b1"),
        ],
    );
}

#[test]
fn by_the_time_to_the_first_token() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a by latency", "start 1 a0"),
            ("0 arrive 2 on b by latency", "start 2 b0"),
            ("200 first 2", ""),
            ("900 first 1", ""),
            ("900 done 1", ""),
            ("900 done 2", ""),
            ("900 arrive 3 on ab by latency", "start 3 b0"),
            ("900 arrive 4 on ab by latency", "start 4 a0"),
        ],
    );
}

#[test]
fn by_the_prompt_tokens_in_work() {
    check(
        "a:4 b:4",
        &[
            ("0 arrive 1 on a by tokens tokens 5000", "start 1 a0"),
            ("0 arrive 2 on b by tokens tokens 900", "start 2 b0"),
            ("0 arrive 3 on ab by tokens tokens 900", "start 3 b1"),
            ("0 arrive 4 on ab by tokens tokens 900", "start 4 b2"),
        ],
    );
}

#[test]
fn long_prompts_wait_for_who_knows_them() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("0 arrive 1 on a says sxxxxxxxxxxxxxxx by long", "start 1 a0"),
            ("1000 first 1", ""),
            ("1000 done 1 output=10", ""),
            ("1000 arrive 2 on a says q by long", "start 2 a0"),
            // known to a alone, which is busy
            ("1000 arrive 3 on ab says sxxxxxxxxxxxxxxxA by long", ""),
            // too short to wait, and too long but known nowhere
            ("1000 arrive 4 on ab says qx by long", "start 4 b0"),
            ("1000 done 4 output=10", ""),
            ("1000 arrive 5 on ab says yyyyyyyyyyyyyyyyy by long", "start 5 b0"),
            ("99000 done 2 output=10", "start 3 a0"),
        ],
    );
}
