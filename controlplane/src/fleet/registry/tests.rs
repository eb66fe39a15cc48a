//! What the registry takes, refuses and forgets.

use super::*;

fn hello(plane: &str, incarnation: u64) -> Hello {
    let process = format!("{plane}{incarnation}");
    Hello { plane: plane.to_owned(), incarnation, process, locked: true, ..Hello::default() }
}

fn come(registry: &mut Registry, hello: Hello, now_ms: u64) -> Result<bool, Denial> {
    registry.make(&Entry::Hello(Box::new(hello), now_ms))
}

fn dead(registry: &mut Registry, plane: &str, incarnation: u64) -> Result<bool, Denial> {
    proven(registry, plane, incarnation, Proof::Fence)
}

fn proven(registry: &mut Registry, plane: &str, incarnation: u64, proof: Proof) -> Result<bool, Denial> {
    registry.make(&Entry::Dead { plane: plane.to_owned(), incarnation, proof })
}

fn acked(registry: &mut Registry, plane: &str, together: bool) {
    let entry = Entry::Acked { plane: plane.to_owned(), incarnation: 1, together, silence_ms: 0 };
    registry.make(&entry).unwrap();
}

fn appoint(after: u64, plane: &str, incarnation: u64, now_us: u64) -> Entry {
    Entry::Appoint { after, plane: plane.to_owned(), incarnation, now_us }
}

#[test]
fn a_row_is_written_once_for_a_process() {
    let mut registry = Registry::default();
    assert_eq!(come(&mut registry, hello("a", 1), 5), Ok(true));
    assert_eq!(come(&mut registry, hello("a", 1), 9), Ok(false), "it only follows anew");
    assert_eq!((registry.rows["a"].first_seen_ms, registry.rows["a"].dead_through), (5, 0));
    let moved = Hello { serves: "h:1".to_owned(), ..hello("a", 1) };
    assert_eq!(come(&mut registry, moved, 9), Ok(true));
}

#[test]
fn a_later_incarnation_proves_the_earlier_dead_if_it_holds_the_lock() {
    let mut registry = Registry::default();
    come(&mut registry, hello("a", 3), 5).unwrap();
    assert!(!registry.rows["a"].dead());
    let unlocked = Hello { locked: false, ..hello("a", 4) };
    assert!(matches!(come(&mut registry, unlocked, 6), Err(Denial::Unlocked { earlier: 3, .. })));
    come(&mut registry, hello("a", 5), 7).unwrap();
    let row = &registry.rows["a"];
    assert_eq!((row.incarnation, row.dead_through, row.first_seen_ms), (5, 4, 5));
    assert!(matches!(come(&mut registry, hello("a", 4), 8), Err(Denial::Dead { incarnation: 4, .. })));
}

#[test]
fn copies_of_a_state_directory_and_the_fenced_are_turned_away() {
    let mut registry = Registry::default();
    come(&mut registry, hello("a", 3), 5).unwrap();
    let copy = Hello { process: "other".to_owned(), ..hello("a", 3) };
    assert!(matches!(come(&mut registry, copy, 6), Err(Denial::Twice { incarnation: 3, .. })));
    assert_eq!(dead(&mut registry, "a", 3), Ok(true));
    assert_eq!(dead(&mut registry, "a", 3), Ok(false));
    assert!(matches!(dead(&mut registry, "a", 4), Err(Denial::Other { latest: 3, .. })));
    assert!(matches!(dead(&mut registry, "b", 1), Err(Denial::Missing(_))));
    assert!(matches!(come(&mut registry, hello("a", 3), 7), Err(Denial::Dead { .. })));
    assert_eq!(come(&mut registry, hello("a", 4), 8), Ok(true));
    assert!(!registry.rows["a"].dead());
}

#[test]
fn only_its_next_start_or_an_operator_proves_one_dead_that_may_go_on_by_itself() {
    let proofs = [Proof::Refused, Proof::Silence];
    let mut registry = Registry::default();
    come(&mut registry, hello("a", 1), 0).unwrap();
    acked(&mut registry, "a", true);
    assert!(registry.rows["a"].alone, "there is no other");
    come(&mut registry, hello("b", 1), 0).unwrap();
    for proof in proofs {
        let denial = proven(&mut registry, "a", 1, proof).unwrap_err();
        assert!(denial.to_string().contains("llmctl dataplane fence a"), "{denial}");
    }
    let mut fenced = registry.clone();
    assert_eq!(proven(&mut fenced, "a", 1, Proof::Fence), Ok(true));
    let mut again = registry.clone();
    come(&mut again, hello("a", 2), 0).unwrap();
    assert!(again.rows["a"].dead_through == 1 && again.rows["a"].alone, "what it kept is as it was");

    for proof in proofs {
        let (mut word, mut registry) = (registry.clone(), registry.clone());
        assert_eq!(proven(&mut word, "a", 1, Proof::Word), Ok(true), "it says that it does not");
        acked(&mut registry, "a", true);
        assert!(!registry.rows["a"].alone);
        assert_eq!(proven(&mut registry, "a", 1, proof), Ok(true), "{proof:?}");
        come(&mut registry, hello("a", 2), 0).unwrap();
        assert!(!registry.rows["a"].alone);
        acked(&mut registry, "b", true);
        dead(&mut registry, "a", 2).unwrap();
        assert!(!registry.rows["b"].alone, "it would not go on by itself: the other may be back");
        registry.make(&Entry::Seen(Vec::new(), FORGOTTEN_AFTER.as_millis() as u64)).unwrap();
        assert!(registry.rows["b"].alone, "it is the only one, before it is told so");
        acked(&mut registry, "b", true);
        assert!(registry.rows["b"].alone, "what it acknowledged was of before");
    }
}

#[test]
fn terms_only_grow_also_in_a_store_that_was_set_back() {
    let mut registry = Registry::default();
    come(&mut registry, hello("a", 1), 5).unwrap();
    come(&mut registry, hello("b", 1), 5).unwrap();
    registry.make(&appoint(0, "a", 1, 1000)).unwrap();
    let old = registry.clone();
    assert_eq!(registry.term, 1000);
    assert!(matches!(registry.make(&appoint(0, "b", 1, 2000)), Err(Denial::Stale { current: 1000, .. })));
    registry.make(&appoint(1000, "b", 1, 900)).unwrap();
    assert_eq!(registry.lead, Some(Lead { plane: "b".to_owned(), incarnation: 1, term: 1001 }));
    // Set back, with a clock that goes on: beyond what was forgotten.
    let mut back = old.clone();
    back.make(&appoint(1000, "b", 1, 5000)).unwrap();
    assert!(back.term > registry.term);
    // Set back, and the clock as well: a data plane knows better.
    let mut back = old;
    come(&mut back, Hello { term: 7000, ..hello("b", 1) }, 6).unwrap();
    assert!(matches!(back.make(&appoint(1000, "b", 1, 10)), Err(Denial::Stale { current: 7000, .. })));
    back.make(&appoint(7000, "b", 1, 10)).unwrap();
    assert_eq!(back.term, 7001);
    // One that tells nonsense does not use up all terms.
    come(&mut back, Hello { term: u64::MAX, ..hello("b", 1) }, 7).unwrap();
    let after = back.term;
    back.make(&appoint(after, "a", 1, 10)).unwrap();
    assert_eq!(back.term, after + 1);
}

#[test]
fn only_a_living_registered_incarnation_is_appointed() {
    let mut registry = Registry::default();
    come(&mut registry, hello("a", 2), 5).unwrap();
    assert!(matches!(registry.make(&appoint(0, "b", 1, 0)), Err(Denial::Missing(_))));
    assert!(matches!(registry.make(&appoint(0, "a", 1, 0)), Err(Denial::Other { latest: 2, .. })));
    dead(&mut registry, "a", 2).unwrap();
    assert!(matches!(registry.make(&appoint(0, "a", 2, 0)), Err(Denial::Dead { .. })));
    assert_eq!(registry.lead, None);
}

#[test]
fn only_the_dead_that_do_not_lead_are_forgotten() {
    let mut registry = Registry::default();
    for plane in ["alive", "dead", "lead"] {
        come(&mut registry, hello(plane, 1), 0).unwrap();
    }
    registry.make(&appoint(0, "lead", 1, 0)).unwrap();
    dead(&mut registry, "dead", 1).unwrap();
    dead(&mut registry, "lead", 1).unwrap();
    let day_ms = FORGOTTEN_AFTER.as_millis() as u64;
    let seen = |at_ms| Entry::Seen(vec![("dead".to_owned(), 1)], at_ms);
    registry.make(&seen(day_ms)).unwrap();
    assert_eq!(registry.rows.len(), 3, "heard of a moment too late");
    registry.make(&seen(day_ms + 1)).unwrap();
    assert_eq!(registry.rows.keys().collect::<Vec<_>>(), ["alive", "lead"]);
}

#[test]
fn bounded_by_rows_that_may_still_hold_something() {
    let mut registry = Registry::default();
    for n in 0..PLANES_MAX {
        come(&mut registry, hello(&format!("p{n}"), 1), 0).unwrap();
    }
    assert_eq!(come(&mut registry, hello("new", 1), 0), Err(Denial::Full));
    dead(&mut registry, "p7", 1).unwrap();
    assert_eq!(come(&mut registry, hello("new", 1), 0), Err(Denial::Full), "it was heard of today");
    let tomorrow_ms = FORGOTTEN_AFTER.as_millis() as u64;
    assert_eq!(come(&mut registry, hello("new", 1), tomorrow_ms), Ok(true));
    assert!(registry.rows.len() == PLANES_MAX && !registry.rows.contains_key("p7"));
}
