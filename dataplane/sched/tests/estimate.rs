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
