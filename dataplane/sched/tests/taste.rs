//! Where a data plane that does not lead starts without asking, and what it knows of a place.

#[cfg(test)]
mod desk;
use desk::{check, run};

#[test]
fn a_conversation_goes_where_it_was() {
    check(
        "a:1,pool=100000 b:1,pool=100000 c:1,pool=100000",
        &[
            ("0 began 1 b on abc says abcd", ""),
            ("4000 first 1", ""),
            ("4001 done 1 prefill=4000 cached=0 prompt=4000", ""),
            ("? unasked on abc says abcdEf", "b"),
            ("? unasked on abc says abcd", "b"),
            ("? unasked on ac says abcd", "ac"),
            ("? taste b on abc says abcdEf", "Some(1000) Some((4000, 6000))"),
            ("? taste a on abc says abcdEf", "None Some((0, 6000))"),
            ("? taste d on abc says abcdEf", "None None"),
            ("? taste a on abc", "None None"),
        ],
    );
}

#[test]
fn a_conversation_whose_turn_before_is_unknown_asks() {
    check(
        "a:1,pool=100000 b:1,pool=100000 c:1",
        &[
            ("0 began 1 b on abc says ab", ""),
            ("1 done 1", ""),
            ("? unasked on abc says abCd", "b"),
            ("? unasked on abc says abCdEf", ""),
            ("? unasked on abc says aBc", "b"),
            ("? unasked on abc says xYz", ""),
            ("? unasked on c says xYz", "c"),
            // its turn before ran elsewhere, and a digest told of it
            ("10 learn a abCd", ""),
            ("? unasked on abc says abCdEf", "a"),
            ("? taste a on abc says abCdEf", "None Some((4000, 6000))"),
        ],
    );
}

#[test]
fn nothing_starts_unasked_where_it_should_not() {
    check(
        "a:1,down b:1,drain c:1 d:1,max=5 e:1,one,has=7",
        &[
            ("0 arrive 1 on c", "start 1 c0"),
            ("1 fail 1 connect", "refuse 1 exhausted 1"),
            ("? unasked on abcde says abcd", ""),
            ("2000 wake", ""),
            // others may have its trial
            ("? unasked on abcde says abcd", "c"),
        ],
    );
}

#[test]
fn rules_that_go_by_what_all_do_ask() {
    check(
        "a:1 b:1,prio=3 c:1,prio=3",
        &[
            ("? unasked on abc", "bc"),
            ("? unasked on abc by weights", "bc"),
            ("? unasked on abc by busy", ""),
            ("? unasked on abc by turns", ""),
            ("? unasked on a by turns", "a"),
            ("? unasked on c/ab", "c"),
        ],
    );
}

/// The lot of the server that each of some conversations is started on, where `a`, `b` and `c` have these.
fn taken(lots: [u32; 3]) -> Vec<u32> {
    let [a, b, c] = lots;
    let steps = (0..40u8).flat_map(|talk| {
        let (first, second) = (char::from(b'a' + talk % 7), char::from(b'a' + talk / 7));
        [format!("{talk} arrive {talk} on abc says {first}{second}"), format!("{talk} unsent {talk}")]
    });
    let steps: Vec<String> = steps.collect();
    let said = run(1, &format!("a:1,lot={a} b:1,lot={b} c:1,lot={c}"), steps.iter().map(String::as_str));
    let started = said.iter().filter_map(|said| said.split(' ').nth(2)?.chars().next());
    started.map(|name| lots[name as usize - 'a' as usize]).collect()
}

#[test]
fn equal_servers_are_taken_by_their_lots_and_not_by_their_numbers() {
    let lots = taken([77, 5, 901]);
    assert_eq!(lots.len(), 40);
    assert!([77, 5, 901].iter().all(|lot| lots.contains(lot)), "all have their share: {lots:?}");
    assert_eq!(lots, taken([901, 77, 5]));
}
