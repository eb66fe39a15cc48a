//! `Back`: a start that came to nothing leaves no trace.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn it_waits_again_in_its_place_and_nobody_starts_before_the_next_event() {
    check(
        "a:1 b:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("0 arrive 2 on b", "start 2 b0"),
            ("1 arrive 3 on ab", ""),
            ("2 arrive 4 on ab", ""),
            ("3 done 1", "start 3 a0"),
            ("4 back 3", ""),
            ("? position 3", "0"),
            ("? position 4", "1"),
            ("? a", "0/1 busy, 0 cooling, 0 streaming, 2 waiting"),
            ("5 wake", "start 3 a0"),
            ("6 done 3", "start 4 a0"),
        ],
    );
}

#[test]
fn it_costs_no_retry_and_is_no_try() {
    check(
        "a:1,grace=250",
        &[
            ("0 arrive 1 on a until 90", "start 1 a0"),
            ("? retries", "100"),
            ("1 back 1", ""),
            ("? next", "90"),
            ("? retries", "100"),
            ("? breaker a", "closed"),
            ("? a", "0/1 busy, 0 cooling, 0 streaming, 1 waiting"),
            ("2 slots a 0", ""),
            ("3 slots a 1", "start 1 a0"),
            ("4 done 1", ""),
        ],
    );
}

#[test]
fn a_trial_is_still_to_be_made() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 fail 1 connect", "refuse 1 exhausted 1"),
            ("2 arrive 2 on a", ""),
            ("5000 wake", "start 2 a0"),
            ("5001 back 2", ""),
            ("5002 wake", "start 2 a0"),
            ("5003 done 2", ""),
            ("? breaker a", "closed Fault(Connect)"),
        ],
    );
}

#[test]
fn where_it_may_go_no_more_it_is_refused() {
    check(
        "a:1",
        &[
            ("0 arrive 1 on a", "start 1 a0"),
            ("1 adopt b:1", ""),
            ("2 back 1", "refuse 1 none"),
            ("? a", "gone"),
            ("3 back 7", ""),
            ("4 began 8 b", ""),
            ("5 back 8", "refuse 8 exhausted 1"),
            ("? b", "0/1 busy, 0 cooling, 0 streaming, 0 waiting"),
        ],
    );
}

#[test]
fn what_was_thought_to_be_cached_is_as_before() {
    check(
        "a:1,pool=100000 b:1,pool=100000",
        &[
            ("0 arrive 1 on ab says abcd", "start 1 a0"),
            ("1 back 1", ""),
            ("2 cancel 1", ""),
            ("3 arrive 2 on a says abcd", "start 2 a0"),
            ("? cached 2", "0"),
        ],
    );
}
