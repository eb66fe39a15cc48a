//! Data planes register, are proven dead, and one of them leads: real gRPC, a store on disk.

mod rig;

use std::net::SocketAddr;

use proto::v1::{self, follow_up};
use rig::{Follower, manage, start, within};
use tonic::Code;

/// Looks at a data plane until `right` holds for it.
async fn plane(
    addr: SocketAddr,
    id: &str,
    what: &str,
    right: impl Fn(&v1::DataPlane) -> bool,
) -> v1::DataPlane {
    let mut client = manage(addr).await;
    within(what, async {
        loop {
            let request = v1::GetDataPlaneRequest { id: id.to_owned() };
            if let Ok(plane) = client.get_data_plane(request).await
                && right(plane.get_ref())
            {
                return plane.into_inner();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

fn led(snapshot: &v1::Snapshot) -> (String, u64, u64) {
    let lead = snapshot.lead.clone().expect("a lead");
    (lead.plane_id, lead.incarnation, lead.term)
}

async fn denied(addr: SocketAddr, hello: v1::Hello) -> String {
    let Err(status) = Follower::try_join(addr, hello).await else { panic!("it may follow") };
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    status.message().to_owned()
}

#[tokio::test]
async fn a_row_outlives_the_control_plane_and_terms_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for incarnation in 1..4 {
        let running = start(dir.path()).await;
        let hello = v1::Hello { peer: "10.0.0.1:9".to_owned(), ..Follower::hello("one", incarnation) };
        let snapshot = Follower::try_join(running.addr, hello).await.unwrap().snapshot().await;
        let (id, led, term) = led(&snapshot);
        assert_eq!((id.as_str(), led, snapshot.owner), ("one", incarnation, true));
        assert!(term > last, "{term} after {last}");
        last = term;
        let row = v1::Registered {
            plane_id: id,
            incarnation,
            peer: "10.0.0.1:9".to_owned(),
            dead_through: incarnation - 1,
            draining: false,
            permits: false,
        };
        assert_eq!((snapshot.lead.unwrap().peer, snapshot.planes), (row.peer.clone(), vec![row]));
        running.stop().await;
    }
    let running = start(dir.path()).await;
    let shown = plane(running.addr, "one", "the row", |_| true).await;
    assert!(shown.registered && shown.lead && !shown.connected && !shown.dead);
    assert_eq!(shown.incarnation, 3);
    running.stop().await;
}

#[tokio::test]
async fn who_is_another_or_dead_may_not_follow() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let addr = running.addr;
    let mut one = Follower::try_join(addr, Follower::hello("one", 2)).await.unwrap();
    one.snapshot().await;
    let copy = v1::Hello { process: "another".to_owned(), ..Follower::hello("one", 2) };
    assert!(denied(addr, copy).await.contains("its state directory was copied"));
    assert!(denied(addr, Follower::hello("one", 1)).await.contains("declared dead"));
    let unlocked = v1::Hello { locked: false, ..Follower::hello("one", 3) };
    assert!(denied(addr, unlocked).await.contains("not proven dead"));

    let mut client = manage(addr).await;
    let fence = |incarnation| v1::FenceDataPlaneRequest { id: "one".to_owned(), incarnation };
    let follows = client.fence_data_plane(fence(0)).await.unwrap_err();
    assert_eq!(follows.code(), Code::FailedPrecondition);
    drop(one);
    plane(addr, "one", "its end", |plane| !plane.connected).await;
    assert_eq!(client.fence_data_plane(fence(1)).await.unwrap_err().code(), Code::Aborted);
    assert!(client.fence_data_plane(fence(2)).await.unwrap().into_inner().dead);
    assert!(denied(addr, Follower::hello("one", 2)).await.contains("declared dead"));
    let missing = v1::FenceDataPlaneRequest { id: "none".to_owned(), incarnation: 0 };
    assert_eq!(client.fence_data_plane(missing).await.unwrap_err().code(), Code::NotFound);
    let mut again = Follower::try_join(addr, Follower::hello("one", 3)).await.unwrap();
    assert_eq!(led(&again.snapshot().await).1, 3);
    running.stop().await;
}

#[tokio::test]
async fn a_lead_that_takes_leave_or_is_fenced_is_followed_by_another_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut one = Follower::join(running.addr, "one").await;
    let first = one.snapshot().await;
    let mut two = Follower::join(running.addr, "two").await;
    let spare = two.snapshot().await;
    assert!(first.owner && !spare.owner);
    assert_eq!(led(&first), led(&spare));
    let both = one.follow_with(first.clone(), "the other", |snapshot| snapshot.planes.len() == 2).await;
    one.acknowledge(&both).await;
    plane(running.addr, "one", "to know the other", |plane| !plane.alone).await;
    one.say(follow_up::Message::Bye(v1::Bye::default())).await;
    let leads = two.follow_with(spare, "to lead", |snapshot| snapshot.owner).await;
    assert_eq!(leads.planes[0].dead_through, 1, "its end was durable before another could lead");
    assert!(led(&leads).2 > led(&first).2);
    drop(one);

    let mut three = Follower::join(running.addr, "three").await;
    let spare = three.snapshot().await;
    drop(two);
    plane(running.addr, "two", "its end", |plane| !plane.connected).await;
    let fence = v1::FenceDataPlaneRequest { id: "two".to_owned(), incarnation: 1 };
    manage(running.addr).await.fence_data_plane(fence).await.unwrap();
    let leads = three.follow_with(spare, "to lead", |snapshot| snapshot.owner).await;
    assert_eq!(led(&leads).0, "three");
    running.stop().await;
}

#[tokio::test]
async fn what_others_say_of_a_data_plane_counts_unless_it_follows() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut one = Follower::join(running.addr, "one").await;
    one.snapshot().await;
    let mut two = Follower::join(running.addr, "two").await;
    let known = two.snapshot_with("both", |snapshot| snapshot.planes.len() == 2).await;
    two.acknowledge(&known).await;
    plane(running.addr, "two", "to know the other", |plane| !plane.alone).await;
    one.say(dead("two")).await;
    one.say(follow_up::Message::Load(v1::Load { queued: 5, ..v1::Load::default() })).await;
    plane(running.addr, "one", "the load", |plane| plane.load.is_some()).await;
    let shown = plane(running.addr, "two", "the row", |_| true).await;
    assert!(shown.connected && !shown.dead);
    drop(two);
    plane(running.addr, "two", "its end", |plane| !plane.connected).await;
    one.say(dead("two")).await;
    plane(running.addr, "two", "its death", |plane| plane.dead).await;
    running.stop().await;
}

fn dead(plane_id: &str) -> follow_up::Message {
    let reason = "its address refused the connection".to_owned();
    follow_up::Message::Dead(v1::Dead { plane_id: plane_id.to_owned(), incarnation: 1, reason })
}

/// One that shares permits.
async fn shares(addr: SocketAddr, plane: &str) -> Follower {
    let (peer, permits) = (format!("{plane}:9"), true);
    Follower::try_join(addr, v1::Hello { peer, permits, ..Follower::hello(plane, 1) }).await.expect("it may")
}

#[tokio::test]
async fn one_that_was_alone_is_dead_by_its_next_start_or_an_operator_alone() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let addr = running.addr;
    let mut one = shares(addr, "one").await;
    let first = one.snapshot().await;
    one.acknowledge(&first).await;
    plane(addr, "one", "its acknowledgement", |plane| plane.acked.is_some() && plane.alone).await;
    drop(one);
    plane(addr, "one", "its end", |plane| !plane.connected).await;
    let mut two = shares(addr, "two").await;
    let second = two.snapshot().await;
    two.say(dead("one")).await;
    two.acknowledge(&second).await;
    plane(addr, "two", "to know the other", |plane| !plane.alone).await;
    assert!(!plane(addr, "one", "the row", |_| true).await.dead, "it may go on by itself");

    let mut one = shares(addr, "one").await;
    let both = one.snapshot().await;
    one.say(follow_up::Message::Ack(v1::Ack { version: both.version.clone(), unkept: true })).await;
    let shown = plane(addr, "one", "its acknowledgement", |plane| plane.acked == both.version).await;
    assert!(shown.alone, "its disk has an earlier one");
    one.acknowledge(&both).await;
    plane(addr, "one", "to know the other", |plane| !plane.alone).await;
    drop(one);
    plane(addr, "one", "its end", |plane| !plane.connected).await;
    two.say(dead("one")).await;
    plane(addr, "one", "its death", |plane| plane.dead).await;
    plane(addr, "two", "to lead", |plane| plane.lead).await;
    running.stop().await;
}

#[tokio::test]
async fn who_dies_is_believed_dead_though_its_stream_ends_a_moment_later() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let addr = running.addr;
    let mut one = shares(addr, "one").await;
    let first = one.snapshot().await;
    let two = shares(addr, "two").await;
    let both = one.follow_with(first, "the other", |snapshot| snapshot.planes.len() == 2).await;
    one.acknowledge(&both).await;
    plane(addr, "one", "to know the other", |plane| !plane.alone).await;
    two.say(dead("one")).await;
    two.say(follow_up::Message::Load(v1::Load { queued: 5, ..v1::Load::default() })).await;
    plane(addr, "two", "the load", |plane| plane.load.is_some()).await;
    drop(one);
    plane(addr, "one", "its death", |plane| plane.dead).await;
    plane(addr, "two", "to lead", |plane| plane.lead && plane.serving).await;
    running.stop().await;
}

#[tokio::test]
async fn who_shares_permits_works_beside_the_lead_and_hears_that_it_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut one = shares(running.addr, "one").await;
    let first = one.snapshot().await;
    let mut two = shares(running.addr, "two").await;
    let second = two.snapshot().await;
    assert!(first.owner && second.owner && second.planes.iter().all(|row| row.permits));
    assert_eq!(led(&second).0, "one");
    let mut spare = Follower::join(running.addr, "spare").await;
    assert!(!spare.snapshot().await.owner, "it shares nothing");
    let mut client = manage(running.addr).await;
    client.drain_data_plane(v1::DrainDataPlaneRequest { id: "one".to_owned() }).await.unwrap();
    let after = two.follow_with(second, "to lead", |snapshot| led(snapshot).0 == "two").await;
    assert!(after.owner && led(&after).2 > led(&first).2);
    one.follow_with(first, "the other to lead", |snapshot| led(snapshot).0 == "two" && snapshot.owner).await;
    one.say(follow_up::Message::Beat(v1::Beat { number: 7 })).await;
    within("the answer", async {
        while one.next().await != proto::v1::follow_down::Message::Beat(v1::Beat { number: 7 }) {}
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn one_that_drains_is_told_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut one = Follower::join(running.addr, "one").await;
    let first = one.snapshot().await;
    let mut client = manage(running.addr).await;
    let drained = client.drain_data_plane(v1::DrainDataPlaneRequest { id: "one".to_owned() }).await;
    assert!(drained.unwrap().into_inner().draining);
    let drains = one.follow_with(first, "to drain", |snapshot| snapshot.planes[0].draining).await;
    assert!(drains.owner, "there is no other");
    client.undrain_data_plane(v1::UndrainDataPlaneRequest { id: "one".to_owned() }).await.unwrap();
    one.follow_with(drains, "to drain no more", |snapshot| !snapshot.planes[0].draining).await;
    let list = client.list_data_planes(v1::ListDataPlanesRequest {}).await.unwrap().into_inner();
    assert_eq!(list.data_planes.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_refused_delta_is_followed_by_the_whole_and_stays_to_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut one = Follower::join(running.addr, "one").await;
    one.snapshot().await;
    let mut client = manage(running.addr).await;
    let created = v1::CreateBackendRequest { backend: Some(rig::backend("b", "http://127.0.0.1:9")) };
    client.create_backend(created).await.unwrap();
    let proto::v1::follow_down::Message::Delta(delta) = one.next().await else { panic!("a whole snapshot") };
    let (version, faults) = (delta.version, vec!["it does not fit".to_owned()]);
    one.say(follow_up::Message::Nack(v1::Nack { version, faults })).await;
    let whole = within("the whole", async {
        loop {
            if let proto::v1::follow_down::Message::Snapshot(whole) = one.next().await {
                return whole;
            }
        }
    })
    .await;
    assert_eq!(whole.backends.len(), 1);
    one.say(follow_up::Message::Ack(v1::Ack { version: whole.version, unkept: false })).await;
    let shown = plane(running.addr, "one", "the ack", |plane| plane.acked.is_some()).await;
    assert!(shown.faults.iter().any(|fault| fault.contains("it does not fit")), "{:?}", shown.faults);
    running.stop().await;
}
