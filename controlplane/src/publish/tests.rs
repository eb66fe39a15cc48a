//! Publishing: only differences, the smallest message that fits, nobody is waited for.

use proto::v1::follow_down::Message;

use super::*;
use crate::{
    model::{BaseUrl, Kind, Observed},
    plan::Planned,
};

fn publisher() -> Publisher {
    Publisher::new(Identity { lineage: "l".to_owned(), epoch: 4, salt: [1; 32] }, "")
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
    Picture {
        revision,
        backends: vec![planned("a", Health::Healthy), planned("b", health)],
        ..Picture::default()
    }
}

fn next(joined: &mut Joined) -> Option<Message> {
    joined.down.try_recv().ok().and_then(|message| message.expect("no fault").message)
}

fn whole(joined: &mut Joined) -> proto::v1::Snapshot {
    match next(joined) {
        Some(Message::Snapshot(snapshot)) => snapshot,
        other => panic!("{other:?}"),
    }
}

fn seq(version: Option<proto::v1::Version>) -> u64 {
    version.expect("a version").seq
}

#[test]
fn only_differences_and_health_alone_is_small() {
    let publisher = publisher();
    let mut one = publisher.join("one", Hello::default()).unwrap();
    publisher.greet(one.stream);
    assert!(next(&mut one).is_none(), "there is nothing yet");
    assert_eq!(publisher.publish(picture(1, Health::Healthy), vec![]), Published::Whole);
    assert_eq!(seq(whole(&mut one).version), 1);
    assert_eq!(publisher.publish(picture(1, Health::Healthy), vec![]), Published::Same);
    assert!(next(&mut one).is_none());
    assert_eq!(publisher.version().seq, 1);
    assert_eq!(publisher.publish(picture(1, Health::Unhealthy), vec![]), Published::Health);
    let Some(Message::Health(change)) = next(&mut one) else { panic!("not small") };
    assert_eq!((seq(change.base), seq(change.version)), (1, 2));
    assert_eq!(change.backends.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(publisher.publish(picture(2, Health::Unhealthy), vec![]), Published::Whole);
    assert_eq!(whole(&mut one).revision, 2);
    let mut late = publisher.join("late", Hello::default()).unwrap();
    publisher.greet(late.stream);
    assert_eq!(seq(whole(&mut late).version), 3, "a new one gets the whole");
}

#[test]
fn one_that_refused_gets_the_whole_again() {
    let publisher = publisher();
    publisher.publish(picture(1, Health::Healthy), vec![]);
    let mut one = publisher.join("one", Hello::default()).unwrap();
    publisher.greet(one.stream);
    whole(&mut one);
    publisher.state().followers.get_mut(&one.stream).unwrap().at = 0;
    publisher.publish(picture(1, Health::Unhealthy), vec![]);
    assert_eq!(seq(whole(&mut one).version), 2);
}

#[test]
fn a_plan_with_faults_changes_nothing() {
    let publisher = publisher();
    publisher.publish(picture(1, Health::Healthy), vec![]);
    let mut one = publisher.join("one", Hello::default()).unwrap();
    publisher.greet(one.stream);
    whole(&mut one);
    assert_eq!(publisher.publish(picture(2, Health::Healthy), vec!["odd".to_owned()]), Published::Refused);
    assert!(next(&mut one).is_none());
    assert_eq!((publisher.plan_faults(), publisher.version().seq), (vec!["odd".to_owned()], 1));
    assert_eq!(publisher.publish(picture(1, Health::Healthy), vec![]), Published::Same);
    assert!(publisher.plan_faults().is_empty(), "the next good plan clears them");
}

#[test]
fn a_slow_follower_is_dropped_the_others_go_on() {
    let publisher = publisher();
    let slow = publisher.join("slow", Hello::default()).unwrap();
    let mut good = publisher.join("good", Hello::default()).unwrap();
    publisher.greet(slow.stream);
    publisher.greet(good.stream);
    for revision in 1..=FOLLOWER_WAITING_MAX as u64 + 1 {
        assert!(!slow.ended.is_cancelled());
        publisher.publish(picture(revision, Health::Healthy), vec![]);
        assert_eq!(whole(&mut good).revision, revision);
    }
    assert!(slow.ended.is_cancelled());
    assert_eq!(publisher.followers(), 1);
}

#[test]
fn ownership_is_a_new_version_for_all() {
    let publisher = publisher();
    publisher.publish(picture(1, Health::Healthy), vec![]);
    let mut one = publisher.join("one", Hello::default()).unwrap();
    publisher.publish(picture(1, Health::Unhealthy), vec![]);
    publisher.publish(picture(1, Health::Healthy), vec![]);
    assert!(next(&mut one).is_none(), "nothing is said before it is decided who holds the slots");
    assert_eq!(publisher.successor().as_deref(), Some("one"));
    publisher.set_owner("one");
    publisher.greet(one.stream);
    assert!(whole(&mut one).owner);
    let mut two = publisher.join("two", Hello::default()).unwrap();
    assert_eq!(publisher.successor(), None);
    publisher.greet(two.stream);
    assert!(!whole(&mut two).owner);
    publisher.set_owner("two");
    let (was, is) = (whole(&mut one), whole(&mut two));
    assert_eq!((was.owner, is.owner, seq(was.version), seq(is.version)), (false, true, 4, 4));
}
