//! What is learned from `FirstToken` and `Finish`: how fast a backend reads prompts.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn the_speed_of_uncached_tokens_the_newest_weighing_most() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("? prefill 1", "none"),
            ("1000 first 1", ""),
            ("5000 done 1 prompt=1400 cached=400", ""),
            ("6000 arrive 2 on a", "start 2 a0"),
            ("? prefill 2", "1000"),
            ("7000 first 2", ""),
            ("8000 done 2 prompt=2000 cached=0", ""),
            ("9000 arrive 3 on a", "start 3 a0"),
            ("? prefill 3", "1512"),
        ],
    );
}

#[test]
fn what_may_have_been_cached_only_lowers_it() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1000 first 1", ""),
            ("1000 done 1 prompt=1000 cached=0", ""),
            ("1000 arrive 2 on a", "start 2 a0"),
            ("1100 first 2", ""),
            ("1100 done 2 prompt=9000", ""),
            ("1100 arrive 3 on a", "start 3 a0"),
            ("? prefill 3", "1000"),
            ("3100 first 3", ""),
            ("3100 done 3 prompt=1000", ""),
            ("4000 arrive 4 on a", "start 4 a0"),
            ("? prefill 4", "661"),
        ],
    );
}

#[test]
fn short_prompts_and_answers_that_broke_off_tell_nothing() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1000 first 1", ""),
            ("1000 done 1 prompt=255 cached=0", ""),
            ("1000 arrive 2 on a", "start 2 a0"),
            ("2000 first 2", ""),
            ("2000 failed 2 prompt=1000 cached=0", ""),
            ("2000 arrive 3 on a", "start 3 a0"),
            ("3000 done 3 prompt=1000 cached=0", ""),
            ("3000 arrive 4 on a", "start 4 a0"),
            ("? prefill 4", "none"),
        ],
    );
}

#[test]
fn each_backend_has_its_own_and_takes_it_along() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1000 first 1", ""),
            ("1000 done 1 prompt=1000 cached=0", ""),
            ("1000 arrive 2 on b", "start 2 b0"),
            ("? prefill 2", "none"),
            ("1001 adopt b:1", ""),
            ("1002 adopt a:1 b:1", ""),
            ("1003 arrive 3 on a", "start 3 a0"),
            ("? prefill 3", "none"),
        ],
    );
}

#[test]
fn what_a_server_says_of_an_answer_in_one_piece_counts() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("9000 done 1 prompt=1000 cached=0 prefill=1000", ""),
            ("9000 arrive 2 on a", "start 2 a0"),
            ("? prefill 2", "1000"),
            // nobody saw when it began
            ("12000 done 2 prompt=1000 cached=0", ""),
            ("12000 arrive 3 on a", "start 3 a0"),
            ("? prefill 3", "1000"),
        ],
    );
}

#[test]
fn a_server_that_lost_its_cache_is_not_slow() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a says sxxxxxxx", "start 1 a0"),
            ("8000 done 1 prompt=8000 prefill=8000 output=30", ""),
            ("9000 arrive 2 on a says sxxxxxxxAu", "start 2 a0"),
            ("? cached 2", "8030"),
            ("20000 done 2 prompt=10000 prefill=10000 output=30", ""),
            ("21000 arrive 3 on a says sxxxxxxxAuAu", "start 3 a0"),
            ("? prefill 3", "999"),
            ("? cached 3", "10030"),
            ("23000 done 3 prompt=12000 prefill=2000 output=30", ""),
            ("24000 arrive 4 on a", "start 4 a0"),
            ("? prefill 4", "998"),
        ],
    );
}

#[test]
fn a_server_that_became_slow_is_known_for_it_after_some_turns() {
    let mut steps = vec!["0 arrive 0 on a says sxxxxxxx".to_owned()];
    steps.push("8000 done 0 prompt=8000 prefill=8000 output=1000".to_owned());
    let mut says = "sxxxxxxx".to_owned();
    for turn in 1..14 {
        says += "Au";
        let prompt = 1000 * says.len();
        steps.push(format!("{turn}0000 arrive {turn} on a says {says}"));
        steps.push(format!("? prefill {turn}"));
        steps.push(format!("{turn}9000 done {turn} prompt={prompt} prefill=8000 output=1000"));
    }
    let said = desk::run(1, "a:1", steps.iter().map(String::as_str));
    let rates: Vec<u32> = said.iter().filter_map(|said| said.parse().ok()).collect();
    let (before, after) = rates.split_at(9);
    assert!(before.iter().all(|rate| (999..=1000).contains(rate)), "{rates:?}");
    assert!(after.is_sorted_by(|one, next| one > next) && after[3] < 800, "{rates:?}");
}

#[test]
fn a_prompt_that_was_read_at_once_says_nothing_of_the_speed() {
    // the server has the prompt from before this process began, and does not say so
    check(
        "a:1",
        &[
            ("0 arrive 1 on a tokens 30000 by affinity", "start 1 a0"),
            ("50 first 1", ""),
            ("1000 done 1 prompt=30000 output=20", ""),
            ("2000 arrive 2 on a tokens 100 by affinity", "start 2 a0"),
            ("? prefill 2", "none"),
        ],
    );
}
