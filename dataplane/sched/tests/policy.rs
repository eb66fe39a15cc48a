//! The other policies: at once, each by its own measure.

#[cfg(test)]
mod desk;
use desk::check;

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
