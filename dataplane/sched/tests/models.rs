//! Servers that hold some models at a time: no generation is ended by a load, nothing is loaded twice at once, and who waits
//! for what is in memory goes first for a while.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn who_waits_for_the_model_in_memory_goes_before_a_load() {
    check(
        "a:1,one",
        &[
            ("0 arrive 1 on a model 1 by affinity", "start 1 a0"),
            ("1000 first 1", ""),
            ("2000 arrive 2 on a model 2 by affinity", ""),
            ("2000 arrive 3 on a model 1 by affinity", ""),
            ("2000 arrive 4 on a model 1 by affinity", ""),
            ("2000 arrive 5 on a model 3 by affinity", ""),
            ("3000 done 1", "start 3 a0"),
            ("4000 done 3", "start 4 a0"),
            ("5000 done 4", "start 2 a0"),
            ("6000 done 2", "start 5 a0"),
        ],
    );
}

#[test]
fn by_other_rules_a_load_waits_for_generations_alone() {
    check(
        "a:1,one",
        &[
            ("0 arrive 1 on a model 1 by priority", "start 1 a0"),
            ("1000 first 1", ""),
            ("2000 arrive 2 on a model 2 by priority", ""),
            ("2000 arrive 3 on a model 1 by priority", ""),
            ("3000 done 1", "start 2 a0"),
            ("4000 done 2", "start 3 a0"),
        ],
    );
}

#[test]
fn by_other_rules_too_a_model_is_loaded_once_at_a_time() {
    for rule in ["priority", "turns", "weights", "busy", "latency", "tokens", "long"] {
        let on = |step: &str| format!("{step} model 1 by {rule}");
        let steps = [
            (on("0 arrive 1 on a"), "start 1 a0"),
            (on("0 arrive 2 on ab"), "start 2 a1"),
            (on("0 arrive 3 on ab"), ""),
            ("1000 first 1".to_owned(), "start 3 b0"),
        ];
        let steps: Vec<_> = steps.iter().map(|(step, says)| (step.as_str(), *says)).collect();
        check("a:2,one b:2,one", &steps);
    }
}

#[test]
fn a_load_is_due_after_four_times_its_length() {
    check(
        "a:2,one",
        &[
            ("0 arrive 1 on a model 1", "start 1 a0"),
            ("1000 first 1", ""),
            ("1000 arrive 2 on a model 2", ""),
            ("40000 arrive 3 on a model 1", "start 3 a1"),
            ("40500 done 3", ""),
            // ten seconds are guessed for the load
            ("41000 arrive 4 on a model 1", ""),
            ("42000 arrive 5 on a model 2", ""),
            ("50000 done 1", "start 2 a0, start 5 a1"),
            ("51000 first 2", ""),
            ("52000 done 2", ""),
            ("53000 done 5", "start 4 a0"),
        ],
    );
}

#[test]
fn two_models_at_a_time_leave_each_other_alone() {
    check(
        "a:4,models=2",
        &[
            ("0 arrive 1 on a model 1", "start 1 a0"),
            // one load at a time
            ("0 arrive 2 on a model 2", ""),
            ("1000 first 1", "start 2 a1"),
            ("2000 first 2", ""),
            ("2000 arrive 3 on a model 3", ""),
            ("3000 arrive 4 on a model 1", "start 4 a2"),
            ("4000 done 2", "start 3 a1"),
            ("5000 first 3", ""),
            ("6000 arrive 5 on a model 2", ""),
            ("7000 done 1", ""),
            ("8000 done 4", "start 5 a0"),
        ],
    );
}

#[test]
fn a_model_is_not_loaded_twice_at_once() {
    check(
        "a:2,one b:2,one",
        &[
            ("0 arrive 1 on ab model 1 says sx", "start 1 a0"),
            ("0 arrive 2 on ab model 1 says sy", "start 2 a1"),
            ("0 arrive 3 on ab model 1 says sz", ""),
            ("0 arrive 4 on ab model 2 says sz", "start 4 b0"),
        ],
    );
}

#[test]
fn what_probes_see_in_memory_is_used() {
    check(
        "a:1,one,has=2 b:1,one,has=1",
        &[
            ("0 arrive 1 on ab model 1 says sx", "start 1 b0"),
            ("0 arrive 2 on ab model 2 says sx", "start 2 a0"),
            ("1000 done 1", ""),
            ("1000 done 2", ""),
            ("2000 adopt a:1,one,has=1 b:1,one,has=2", ""),
            ("3000 arrive 3 on ab model 1 says sx", "start 3 a0"),
            ("3000 arrive 4 on ab model 2 says sx", "start 4 b0"),
        ],
    );
}

#[test]
fn short_prompts_wait_for_what_is_being_loaded_as_long_ones_do() {
    check(
        "a:2,one b:2,one",
        &[
            ("0 arrive 1 on a model 1 by affinity", "start 1 a0"),
            ("0 arrive 2 on a model 1 by affinity", "start 2 a1"),
            ("0 arrive 3 on ab model 1 by affinity", ""),
            // it could be loaded there too, which takes longer than a slot here
            ("10000 first 1", ""),
            ("10500 done 1", "start 3 a0"),
        ],
    );
}

/// As much as takes twenty seconds to read, by what is guessed.
const LONG: &str = "abcdefghijklmnopqrst";

#[test]
fn a_load_goes_where_it_destroys_least() {
    check(
        "a:1,one b:1,one",
        &[
            (&format!("0 arrive 1 on b model 1 says {LONG}"), "start 1 b0"),
            ("0 arrive 2 on a model 3 says z", "start 2 a0"),
            ("1000 first 1", ""),
            ("1000 first 2", ""),
            ("1000 done 1", ""),
            ("9000 done 2", ""),
            // the long one was last used before, and would still be missed more
            ("9000 arrive 3 on ab model 2 says y", "start 3 a0"),
        ],
    );
}

#[test]
fn a_model_is_kept_for_a_conversation_that_will_be_back() {
    check(
        "a:2,one",
        &[
            (&format!("0 arrive 1 on a model 1 says {LONG}"), "start 1 a0"),
            ("1000 first 1", ""),
            ("1000 done 1", ""),
            ("2000 arrive 2 on a model 2 says y", ""),
            (&format!("4000 arrive 3 on a model 1 says {LONG}u"), "start 3 a0"),
            ("5000 first 3", ""),
            ("6000 done 3", ""),
            // it may be back within five seconds, as long as nothing is known
            ("10900 wake", ""),
            ("11100 wake", "start 2 a0"),
        ],
    );
}

#[test]
fn each_server_has_its_own_name_for_a_model() {
    check(
        "a:1,one b:2,one,has=2",
        &[
            ("0 arrive 1 on a model 1", "start 1 a0"),
            ("0 arrive 2 on b model 2", "start 2 b0"),
            ("0 arrive 3 on b model 2", "start 3 b1"),
            ("1000 first 2", ""),
            ("1000 arrive 4 on ab model 1/2", ""),
            ("2000 done 2", "start 4 b0"),
        ],
    );
}

#[test]
fn an_answer_in_one_piece_shows_that_its_model_is_there() {
    check(
        "a:2,models=2",
        &[
            ("0 arrive 1 on a model 1", "start 1 a0"),
            ("1000 arrive 2 on a model 1", "start 2 a1"),
            ("2000 done 1", ""),
            ("3000 arrive 3 on a model 2", "start 3 a0"),
        ],
    );
}

#[test]
fn a_first_token_of_another_model_ends_no_load() {
    check(
        "a:2,models=2,has=1 b:1,one",
        &[
            ("0 arrive 1 on a model 1", "start 1 a0"),
            ("0 arrive 2 on a model 2", "start 2 a1"),
            ("1000 first 1", ""),
            ("1000 arrive 3 on ab model 2", ""),
            ("2000 first 2", "start 3 b0"),
        ],
    );
}

#[test]
fn who_will_not_go_to_a_server_keeps_nothing_in_its_memory() {
    check(
        "a:1,one,has=1 b:1,one,has=1",
        &[
            ("0 arrive 1 on a model 1", "start 1 a0"),
            // b is in reserve
            ("0 arrive 2 on a/b model 1 by affinity", ""),
            ("0 arrive 3 on b model 2 by affinity", "start 3 b0"),
        ],
    );
}

#[test]
fn a_load_counts_what_host_memory_and_pools_hold() {
    for fleet in ["a:1,one,ram=100000 b:1,one", "a:1,one,pool=100000 b:1,one"] {
        check(
            fleet,
            &[
                (&format!("0 arrive 1 on a model 1 says {LONG}"), "start 1 a0"),
                ("0 arrive 2 on b model 3 says abcdefghij", "start 2 b0"),
                ("1000 first 1", ""),
                ("1000 first 2", ""),
                ("1000 done 1", ""),
                ("1000 done 2", ""),
                // the long one leaves the slot, and not the server
                ("1000 arrive 3 on a model 1 says z", "start 3 a0"),
                ("2000 first 3", ""),
                ("2000 done 3", ""),
                ("9000 arrive 4 on ab model 2 says y", "start 4 b0"),
            ],
        );
    }
}
