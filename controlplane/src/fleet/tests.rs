//! Who follows and who leads, by the table.

use super::*;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hello(plane: &str, incarnation: u64) -> Hello {
    let process = format!("{plane}{incarnation}");
    Hello { plane: plane.to_owned(), incarnation, process, locked: true, ..Hello::default() }
}

/// A fleet and the store's side of it.
#[derive(Default)]
struct World {
    fleet: Fleet,
    streams: u64,
}

impl World {
    fn make(&mut self, entry: &Entry) {
        let mut next = Registry::clone(self.fleet.registry());
        next.make(entry).unwrap_or_else(|denial| panic!("{entry:?}: {denial}"));
        self.fleet.adopt(Arc::new(next));
    }

    fn come(&mut self, now: u64, hello: Hello) -> u64 {
        self.streams += 1;
        self.make(&Entry::Hello(Box::new(hello.clone()), now * 1000));
        self.fleet.hello(s(now), now * 1000, self.streams, hello);
        self.streams
    }

    fn successor(&self, now: u64) -> Option<(String, u64)> {
        self.fleet.successor(s(now)).map(|(id, incarnation)| (id.to_owned(), incarnation))
    }

    /// Appoints who should lead; the term.
    fn appoint(&mut self, now: u64) -> u64 {
        let (plane, incarnation) = self.successor(now).expect("somebody should lead");
        let after = self.fleet.registry().term;
        self.make(&Entry::Appoint { after, plane, incarnation, now_us: 0 });
        self.fleet.registry().term
    }

    fn bury(&mut self, plane: &str) {
        self.make(&Entry::Dead { plane: plane.to_owned(), incarnation: 1, proof: Proof::Fence });
    }

    fn restarted(&self) -> World {
        World { fleet: Fleet::new(Arc::clone(self.fleet.registry())), streams: 0 }
    }
}

fn led(plane: &str) -> Option<(String, u64)> {
    Some((plane.to_owned(), 1))
}

#[test]
fn the_first_leads_the_second_does_not() {
    let mut world = World::default();
    assert_eq!(world.successor(0), None);
    let a = world.come(0, hello("a", 1));
    assert_eq!(world.appoint(0), 1);
    world.come(1, hello("b", 1));
    assert_eq!(world.successor(1000), None, "the lead is connected");
    world.fleet.gone(s(1000), "a", a);
    assert_eq!(world.successor(1059), None, "not gone for long enough");
    assert_eq!(world.successor(1060), led("b"));
    world.come(1060, hello("a", 1));
    assert_eq!(world.successor(1060), None, "it came back in time");
}

#[test]
fn a_restart_gives_the_remembered_lead_its_time() {
    let mut world = World::default();
    world.come(0, hello("a", 1));
    world.appoint(0);
    let mut world = world.restarted();
    world.come(1, hello("b", 1));
    assert_eq!(world.successor(59), None);
    assert_eq!(world.successor(60), led("b"));
}

#[test]
fn a_lead_that_is_proven_dead_is_replaced_at_once() {
    let mut world = World::default();
    let a = world.come(0, hello("a", 1));
    world.appoint(0);
    world.come(1, hello("b", 1));
    world.fleet.gone(s(2), "a", a);
    assert_eq!(world.successor(2), None);
    world.bury("a");
    assert_eq!(world.successor(2), led("b"));
    world.come(3, hello("a", 2));
    assert_eq!(world.successor(3), Some(("a".to_owned(), 2)), "the same again, for the least change");
    assert_eq!(world.appoint(3), 2);
    assert_eq!(world.successor(3), None);
}

#[test]
fn a_draining_lead_without_permits_stays_until_it_is_gone_for_good() {
    let mut world = World::default();
    let a = world.come(0, hello("a", 1));
    world.appoint(0);
    world.come(1, hello("b", 1));
    world.make(&Entry::Drain("a".to_owned(), true));
    assert_eq!(world.successor(500), None);
    world.fleet.gone(s(500), "a", a);
    world.bury("a");
    assert_eq!(world.successor(500), led("b"));
}

fn sharing(plane: &str) -> Hello {
    Hello { permits: true, peer: "10.0.0.1:9".to_owned(), ..hello(plane, 1) }
}

#[test]
fn with_permits_a_lead_that_drains_or_is_silent_is_replaced() {
    let mut world = World::default();
    world.come(0, sharing("a"));
    world.appoint(0);
    world.make(&Entry::Drain("a".to_owned(), true));
    assert_eq!(world.successor(0), None, "there is no other");
    world.come(1, sharing("b"));
    assert_eq!(world.successor(1), led("b"));
    world.make(&Entry::Drain("b".to_owned(), true));
    assert_eq!(world.successor(1), None, "the other drains too");
    for plane in ["a", "b"] {
        world.make(&Entry::Drain(plane.to_owned(), false));
    }
    assert_eq!(world.successor(1), None);
}

#[test]
fn with_permits_a_lead_that_others_do_not_hear_is_replaced() {
    let mut world = World::default();
    let a = world.come(0, sharing("a"));
    let term = world.appoint(0);
    let b = world.come(1, sharing("b"));
    let says = |world: &mut World, stream, plane: &str, term, silent| {
        world.fleet.heard(s(1), 0, plane, stream).expect("it follows").lead_seen = Some((term, silent));
    };
    says(&mut world, b, "b", term, Some(s(1)));
    assert_eq!(world.successor(500), None, "of two that do not reach each other neither is better");
    let c = world.come(2, sharing("c"));
    assert_eq!(world.successor(11), None, "not all say so");
    says(&mut world, c, "c", term - 1, Some(s(1)));
    assert_eq!(world.successor(11), None, "of another term");
    says(&mut world, c, "c", term, Some(s(1)));
    assert_eq!(world.successor(10), None, "not silent for long enough");
    assert_eq!(world.successor(11), led("b"));

    world.fleet.gone(s(11), "a", a);
    assert_eq!(world.successor(11), led("b"), "gone, and silent to all");
    says(&mut world, c, "c", term, None);
    assert_eq!(world.successor(500), None, "one of them hears it");
    says(&mut world, c, "c", term, Some(s(15)));
    assert_eq!(world.successor(20), None);
    assert_eq!(world.successor(21), led("b"), "gone for long enough");
}

#[test]
fn who_shares_no_permits_does_not_lead_who_does() {
    let mut world = World::default();
    let a = world.come(0, sharing("a"));
    world.appoint(0);
    world.come(1, hello("b", 1));
    let works = |world: &World| ["a", "b", "c"].map(|plane| world.fleet.registry().works(plane));
    assert_eq!(works(&world), [true, false, false]);
    let c = world.come(2, Hello { permits: true, ..hello("c", 1) });
    assert_eq!(works(&world), [true, false, false], "others do not reach it");
    world.fleet.gone(s(2), "a", a);
    assert_eq!(world.successor(2 + 59), None);
    world.bury("a");
    world.fleet.gone(s(3), "c", c);
    world.come(3, sharing("c"));
    assert_eq!(world.successor(3), led("c"), "it holds permits, which the other would not ask for");
    world.appoint(3);
    assert_eq!(works(&world), [false, false, true], "one that is dead works no more");
    world.come(4, Hello { incarnation: 2, process: "new".to_owned(), ..sharing("a") });
    assert_eq!(works(&world), [true, false, true]);
}

#[test]
fn silence_is_death_only_as_far_as_it_was_acknowledged() {
    let mut world = World::default();
    let silence_ms = |world: &mut World, plane: &str, silence_ms| {
        let (plane, incarnation) = (plane.to_owned(), 1);
        world.make(&Entry::Acked { plane, incarnation, together: true, silence_ms });
    };
    for plane in ["a", "b", "c"] {
        world.come(0, sharing(plane));
    }
    silence_ms(&mut world, "a", 30_000);
    silence_ms(&mut world, "b", 60_000);
    let condemned = |world: &mut World, now, silence| {
        let dead = world.fleet.condemn(s(now), s(silence));
        dead.into_iter().map(|(plane, _)| plane).collect::<Vec<_>>().join("")
    };
    assert_eq!(condemned(&mut world, 29, 20), "");
    assert_eq!(condemned(&mut world, 30, 40), "", "by the longer of what it knows and what is set");
    assert_eq!(condemned(&mut world, 30, 20), "a", "b knows of a longer one, c of none");
    assert!(!world.fleet.answers("a") && world.fleet.answers("b"));
    world.fleet.heard(s(31), 0, "a", 1).expect("it follows");
    assert_eq!(condemned(&mut world, 31, 20), "a", "what comes now is not answered, and comes too late");
    world.fleet.spare("a");
    assert_eq!(condemned(&mut world, 32, 20), "");
    let mut world = world.restarted();
    assert_eq!(condemned(&mut world, 29, 20), "", "it may have been heard of until the start");
    assert_eq!(condemned(&mut world, 60, 20), "ab");
}

#[test]
fn a_newer_stream_replaces_the_older() {
    let mut fleet = Fleet::default();
    assert_eq!(fleet.hello(s(0), 0, 1, hello("a", 1)), None);
    assert_eq!(fleet.hello(s(1), 0, 2, hello("a", 1)), Some(1));
    assert!(fleet.heard(s(2), 2, "a", 1).is_none(), "the old stream says nothing any more");
    fleet.gone(s(2), "a", 1);
    assert!(fleet.heard(s(3), 3, "a", 2).is_some(), "the end of the old stream does not end the new");
}

#[test]
fn one_that_is_not_registered_never_leads() {
    let mut fleet = Fleet::default();
    fleet.hello(s(0), 0, 1, hello("a", 1));
    assert_eq!(fleet.successor(s(1000)), None);
    assert_eq!(fleet.unregistered().count(), 1);
    assert_eq!(fleet.ids().collect::<Vec<_>>(), ["a"]);
    fleet.gone(s(1), "a", 1);
    fleet.adopt(Arc::default());
    assert_eq!(fleet.ids().count(), 0);
}

#[test]
fn bounded() {
    let mut fleet = Fleet::default();
    for n in 0..FOLLOWING_MAX as u64 {
        assert!(fleet.has_room("new"));
        fleet.hello(s(n), n, n, hello(&format!("p{n}"), 1));
    }
    assert!(!fleet.has_room("new") && fleet.has_room("p7"));
}
