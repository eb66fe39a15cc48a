//! Publishing: only differences, the smallest message that fits, nobody is waited for.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    fleet::{Entry, Hello, Proof, Registry},
    model::{BaseUrl, Deadlines, Health, Kind, Matcher, Name, Observed, Record, Route, Scheduling, Target},
    plan::Planned,
};

fn publisher() -> Publisher {
    Publisher::new(Identity { lineage: "l".to_owned(), epoch: 4, salt: [1; 32] }, Arc::default())
}

fn planned(name: &str, health: Health) -> Planned {
    Planned {
        name: Name::new(name).expect("a name"),
        url: BaseUrl::new("http://h").expect("a URL"),
        kind: Some(Kind::Vllm),
        dialects: Vec::new(),
        models: Observed::default().models,
        slots: 1,
        slots_assumed: true,
        priority: 0,
        max_input_tokens: 0,
        max_loaded_models: 0,
        cache_tokens: 0,
        credential: None,
        ca_file: None,
        draining: false,
        health,
        reason: String::new(),
    }
}

fn picture(revision: u64, health: Health) -> Picture {
    let backends = vec![planned("a", Health::Healthy), planned("b", health)];
    Picture { revision, backends: backends.into_iter().map(Arc::new).collect(), ..Picture::default() }
}

/// All of it is another.
fn other(revision: u64) -> Picture {
    let backends = (0..100).map(|n| Arc::new(planned(&format!("r{revision}-{n:03}"), Health::Healthy)));
    Picture { revision, backends: backends.collect(), ..Picture::default() }
}

fn hello(plane: &str) -> Hello {
    Hello { plane: plane.to_owned(), incarnation: 1, locked: true, ..Hello::default() }
}

/// One that follows.
struct One<'a> {
    publisher: &'a Publisher,
    stream: u64,
}

fn join<'a>(publisher: &'a Publisher, plane: &str) -> One<'a> {
    let stream = publisher.join(hello(plane)).unwrap().stream;
    publisher.greet(stream);
    One { publisher, stream }
}

impl One<'_> {
    fn next(&self) -> Option<Message> {
        let next = self.publisher.next(self.stream).expect("it follows");
        next.map(|down| down.message.expect("a message"))
    }

    fn whole(&self) -> v1::Snapshot {
        match self.next() {
            Some(Message::Snapshot(snapshot)) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    fn delta(&self) -> v1::Delta {
        match self.next() {
            Some(Message::Delta(delta)) => delta,
            other => panic!("{other:?}"),
        }
    }

    fn refuse(&self, seq: u64) {
        self.publisher.refused(&mut self.publisher.state(), self.stream, Some(seq));
    }
}

fn seq(version: Option<v1::Version>) -> u64 {
    version.expect("a version").seq
}

/// Changes the registry, as if it were durable.
fn enter(publisher: &Publisher, entry: &Entry) {
    let mut registry = publisher.with_fleet(|fleet| Registry::clone(fleet.registry()));
    registry.make(entry).expect("it is allowed");
    publisher.adopt(|| Arc::new(registry));
}

fn lead(publisher: &Publisher, plane: &str) {
    enter(publisher, &Entry::Hello(Box::new(hello(plane)), 1));
    let after = publisher.with_fleet(|fleet| fleet.registry().term);
    enter(publisher, &Entry::Appoint { after, plane: plane.to_owned(), incarnation: 1, now_us: 0 });
}

#[test]
fn only_differences_are_sent() {
    let publisher = publisher();
    let one = join(&publisher, "one");
    assert_eq!(one.next(), None, "there is nothing yet");
    assert_eq!(publisher.publish(picture(1, Health::Healthy), vec![]), Published::Whole);
    assert_eq!(seq(one.whole().version), 1);
    assert_eq!(publisher.publish(picture(1, Health::Healthy), vec![]), Published::Same);
    assert_eq!((one.next(), publisher.version().seq), (None, 1));
    assert_eq!(publisher.publish(picture(1, Health::Unhealthy), vec![]), Published::Delta);
    let flip = one.delta();
    assert!(flip.backends.is_empty() && flip.encoded_len() < 50);
    assert_eq!(flip.health.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!((seq(flip.base), seq(flip.version)), (1, 2));
    assert_eq!(publisher.publish(other(2), vec![]), Published::Whole);
    assert_eq!((one.whole().revision, one.next()), (2, None));
    let late = join(&publisher, "late");
    assert_eq!(seq(late.whole().version), 3, "a new one gets the whole");
}

#[test]
fn who_is_a_few_behind_gets_what_it_missed_who_is_far_behind_the_whole() {
    let publisher = publisher();
    publisher.publish(picture(1, Health::Healthy), vec![]);
    let (near, far) = (join(&publisher, "near"), join(&publisher, "far"));
    assert_eq!((seq(near.whole().version), seq(far.whole().version)), (1, 1));
    for revision in 2..=1 + log::BEHIND_MAX as u64 {
        publisher.publish(picture(revision, Health::Healthy), vec![]);
    }
    let mut revisions = Vec::new();
    while let Some(Message::Delta(delta)) = near.next() {
        revisions.push(delta.revision);
    }
    assert_eq!(revisions, (2..=1 + log::BEHIND_MAX as u64).collect::<Vec<_>>());
    publisher.publish(picture(99, Health::Unhealthy), vec![]);
    assert_eq!(near.delta().revision, 99);
    assert_eq!(
        (far.whole().revision, far.next()),
        (99, None),
        "all of it in one, and nothing was kept for it"
    );
}

#[test]
fn one_that_refused_a_delta_gets_the_whole_and_no_whole_twice() {
    let publisher = publisher();
    publisher.publish(picture(1, Health::Healthy), vec![]);
    let one = join(&publisher, "one");
    one.whole();
    for revision in 2..5 {
        publisher.publish(picture(revision, Health::Healthy), vec![]);
    }
    assert_eq!((seq(one.delta().version), seq(one.delta().version)), (2, 3));
    one.refuse(2);
    assert_eq!(seq(one.whole().version), 4);
    one.refuse(3);
    assert_eq!(one.next(), None, "it was on its way before the whole");
    one.refuse(4);
    assert_eq!(one.next(), None, "the very same would be refused again");
    publisher.publish(picture(5, Health::Healthy), vec![]);
    assert_eq!(seq(one.whole().version), 5);
}

#[test]
fn a_plan_with_faults_changes_nothing() {
    let publisher = publisher();
    publisher.publish(picture(1, Health::Healthy), vec![]);
    let one = join(&publisher, "one");
    one.whole();
    assert_eq!(publisher.publish(picture(2, Health::Healthy), vec!["odd".to_owned()]), Published::Refused);
    assert_eq!(one.next(), None);
    assert_eq!((publisher.plan_faults(), publisher.version().seq), (vec!["odd".to_owned()], 1));
    assert_eq!(publisher.publish(picture(1, Health::Healthy), vec![]), Published::Same);
    assert!(publisher.plan_faults().is_empty(), "the next good plan clears them");
}

#[test]
fn the_registry_is_told_as_it_is_durable() {
    let publisher = publisher();
    publisher.publish(picture(1, Health::Healthy), vec![]);
    let stream = publisher.join(hello("one")).unwrap().stream;
    let one = One { publisher: &publisher, stream };
    publisher.publish(picture(1, Health::Unhealthy), vec![]);
    assert_eq!(one.next(), None, "nothing is said before it is decided who leads");
    lead(&publisher, "one");
    publisher.greet(stream);
    let whole = one.whole();
    assert!(whole.owner && whole.planes[0].plane_id == "one");
    assert_eq!(
        whole.lead.map(|lead| (lead.plane_id, lead.incarnation, lead.term)),
        Some(("one".to_owned(), 1, 1))
    );
    let two = join(&publisher, "two");
    assert!(!two.whole().owner);
    let version = publisher.version();
    enter(&publisher, &Entry::Seen(vec![("one".to_owned(), 9)], 9));
    assert_eq!(publisher.version(), version, "data planes see no difference");
    enter(&publisher, &Entry::Drain("one".to_owned(), true));
    assert!(one.delta().planes[0].draining);
    two.delta();
    lead(&publisher, "two");
    let (registered, was, is) = (one.delta(), one.delta(), two.delta());
    assert_eq!((registered.lead, registered.planes.len()), (None, 1));
    assert_eq!((was.owner, was.lead.expect("a lead").plane_id), (false, "two".to_owned()));
    assert_eq!((is.lead, two.delta().owner), (None, true));
    enter(&publisher, &Entry::Dead { plane: "one".to_owned(), incarnation: 1, proof: Proof::Fence });
    assert_eq!(one.delta().planes[0].dead_through, 1);
}

#[test]
fn an_older_registry_never_takes_the_place_of_a_newer() {
    let publisher = publisher();
    publisher.publish(picture(1, Health::Healthy), vec![]);
    let older = join(&publisher, "one");
    older.whole();
    let newer = join(&publisher, "one");
    assert!(publisher.next(older.stream).is_none(), "a newer stream took its place");
    newer.whole();
    publisher.expel("one");
    assert!(publisher.next(newer.stream).is_none());
    assert_eq!(publisher.followers(), 0);
}

/// A step of a story: what is done, to which, and a value.
type Step = (u8, u8, u8);

fn route(name: &str, value: u8) -> Arc<Record<Route>> {
    let matcher = match value % 2 {
        0 => Matcher::Exact(name.to_owned()),
        _ => Matcher::Pattern(format!("^{name}")),
    };
    let target = Target { model: format!("m{value}"), backend: None, weight: None };
    let value = Route {
        name: Name::new(name).expect("a name"),
        matcher,
        precedence: i32::from(value % 5) - 2,
        targets: vec![target],
        deadlines: Deadlines::default(),
        policy: None,
        class: None,
    };
    Arc::new(Record { revision: 1, value })
}

/// Changes the world by a step, and publishes it.
fn make(publisher: &Publisher, picture: &mut Picture, (what, which, value): Step) {
    let name = Name::new(&format!("n{which}")).expect("a name");
    picture.revision += 1;
    let place = picture.backends.binary_search_by(|one| one.name.cmp(&name));
    match what % 8 {
        0 | 1 => {
            let new = Planned { slots: u32::from(value), ..planned(name.as_str(), Health::Healthy) };
            match place {
                Ok(at) => picture.backends[at] = Arc::new(new),
                Err(at) => picture.backends.insert(at, Arc::new(new)),
            }
        }
        2 => drop(place.map(|at| picture.backends.remove(at))),
        3 | 4 => {
            if let Ok(at) = place {
                let one = Arc::make_mut(&mut picture.backends[at]);
                one.health = if value % 2 == 0 { Health::Healthy } else { Health::Unhealthy };
                one.reason = format!("because {value}");
            }
        }
        5 => {
            picture.routes.retain(|record| record.value.name != name);
            if value % 3 > 0 {
                picture.routes.push(route(name.as_str(), value));
            }
            picture.routes.sort_by_key(|record| match record.value.matcher {
                Matcher::Exact(_) => (false, 0, record.value.name.clone()),
                Matcher::Pattern(_) => (true, -record.value.precedence, record.value.name.clone()),
            });
        }
        6 => {
            let value = Scheduling { age_max_ms: Some(u64::from(value)), ..Scheduling::default() };
            picture.scheduling = Record { revision: picture.revision, value };
        }
        _ => {
            let plane = format!("p{}", which % 4);
            let mut registry = publisher.with_fleet(|fleet| Registry::clone(fleet.registry()));
            let after = registry.term;
            let entry = match value % 4 {
                0 => Entry::Hello(Box::new(Hello { incarnation: u64::from(value), ..hello(&plane) }), 1),
                1 => Entry::Drain(plane, value % 3 == 0),
                2 => Entry::Dead { plane, incarnation: 1, proof: Proof::Fence },
                _ => Entry::Appoint { after, plane, incarnation: 1, now_us: 0 },
            };
            // Some are denied: then nothing changes.
            if !matches!(&entry, Entry::Hello(hello, _) if hello.incarnation == 0)
                && registry.make(&entry).is_ok()
            {
                publisher.adopt(|| Arc::new(registry));
            }
        }
    }
    publisher.publish(picture.clone(), vec![]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// One that takes deltas as they come, now and then late, has the very bytes of one that has just come.
    #[test]
    fn deltas_lead_to_the_very_snapshot(story in prop::collection::vec((any::<u8>(), 0_u8..24, any::<u8>()), 1..120)) {
        let publisher = publisher();
        let mut picture = Picture::default();
        enter(&publisher, &Entry::Hello(Box::new(hello("p1")), 1));
        publisher.publish(picture.clone(), vec![]);
        let one = join(&publisher, "p1");
        let (mut has, mut deltas) = (one.whole(), 0);
        for step in story {
            make(&publisher, &mut picture, step);
            if step.2 % 4 == 0 {
                continue;
            }
            while let Some(message) = one.next() {
                has = match message {
                    Message::Snapshot(whole) => whole,
                    Message::Delta(delta) => {
                        deltas += 1;
                        proto::apply(&has, delta).expect("it fits")
                    }
                    Message::EngineLoads(_) | Message::Beat(_) => has,
                };
            }
            let state = publisher.state();
            let shown = state.shown.as_ref().expect("published");
            let owner = state.fleet.leads("p1");
            let whole = v1::Snapshot { owner, ..render::snapshot(&publisher.identity, state.seq, shown, 0) };
            prop_assert_eq!(&has, &whole);
            prop_assert_eq!(has.encode_to_vec(), whole.encode_to_vec());
        }
        prop_assert!(deltas > 0 || publisher.version().seq < 8);
    }
}
