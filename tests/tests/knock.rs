//! A data plane that leads finds out that one that followed it is dead, and has its slots for others.

use proto::v1;
use tests::{
    feed::{Feed, row},
    rig::{DEADLINE, Plane},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_followed_and_is_gone_is_proven_dead_by_the_lead() {
    let (mut feed, mut other_feed) = (Feed::start().await, Feed::start().await);
    let (_lead, other) =
        (Plane::follow(&feed.url, |_| {}).await, Plane::follow(&other_feed.url, |_| {}).await);
    let leads = row(&feed.hello(DEADLINE).await);
    let follows = row(&other_feed.hello(DEADLINE).await);
    let of = leads.clone();
    let lead = v1::Lead { plane_id: of.plane_id, incarnation: of.incarnation, peer: of.peer, term: 5 };
    let mut planes = vec![leads, follows.clone()];
    planes.sort_by(|a, b| a.plane_id.cmp(&b.plane_id));
    let picture = v1::Snapshot { lead: Some(lead), planes, ..v1::Snapshot::default() };
    for feed in [&mut feed, &mut other_feed] {
        let seq = feed.publish(picture.clone()).await;
        feed.acked(seq, DEADLINE).await;
    }
    assert_eq!(other_feed.led(DEADLINE).await, 5);
    other.stop().await;
    assert_eq!(feed.dead(DEADLINE).await, (follows.plane_id, follows.incarnation));
}
