//! Servers that have other clients beside us say so when they are probed.

#[cfg(test)]
mod desk;
use desk::check;

#[test]
fn who_has_others_to_serve_costs_their_time() {
    check(
        "a:2,pool=200000 b:2,pool=200000",
        &[
            ("0 told a 2", ""),
            ("0 told b 0", ""),
            ("1000 arrive 1 on ab says sx", "start 1 b0"),
            ("1000 arrive 2 on ab says sy", "start 2 b1"),
            // others do not keep us out
            ("1000 arrive 3 on ab says sz", "start 3 a0"),
        ],
    );
}

#[test]
fn what_was_told_counts_for_a_while() {
    check(
        "a:1,prio=1 b:1",
        &[
            ("6000 told a 1 5000", ""),
            ("9000 arrive 1 on ab says sx", "start 1 b0"),
            ("9000 done 1", ""),
            ("16001 arrive 2 on ab says zy", "start 2 a0"),
        ],
    );
}

#[test]
fn what_is_ours_is_not_others() {
    check(
        "a:2,prio=1 b:2",
        &[
            ("0 arrive 1 on ab says sx", "start 1 a0"),
            // the server was asked while it ran, and answers when it is over
            ("1000 done 1", ""),
            ("1001 told a 1", ""),
            ("2000 arrive 2 on ab says sy", "start 2 a0"),
            ("3000 done 2", ""),
            // two reports later nobody else but others can be meant
            ("6000 told a 1", ""),
            ("11000 told a 2", ""),
            ("16000 told a 2", ""),
            ("17000 arrive 3 on ab says sz", "start 3 b0"),
        ],
    );
}
