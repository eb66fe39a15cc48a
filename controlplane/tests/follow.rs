//! The follow stream end to end: real gRPC, a fake model server, a store on disk.

mod rig;

use controlplane::app;
use proto::v1::{self, Health, follow_down, follow_up};
use rig::{Fake, Follower, backend, manage, route, start, within};

#[tokio::test]
async fn a_new_backend_reaches_the_data_plane() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m-2", "m-1"]).await;
    let running = start(dir.path()).await;
    let mut follower = Follower::join(running.addr, "one").await;
    let first = follower.snapshot().await;
    assert!(first.owner && first.backends.is_empty() && first.salt.len() == 32);
    let mut client = manage(running.addr).await;
    let created = v1::CreateBackendRequest { backend: Some(backend("web", &format!("{}/v1/", fake.url()))) };
    let created = client.create_backend(created).await.unwrap().into_inner();
    assert_eq!((created.url, created.revision), (fake.url(), 1));
    let healthy = follower.follow_with(first, "healthy", |snapshot| {
        snapshot.backends.iter().any(|backend| backend.health() == Health::Healthy)
    });
    let snapshot = healthy.await;
    let web = &snapshot.backends[0];
    assert_eq!(web.dialects, [v1::Dialect::OpenaiChat as i32]);
    assert_eq!(web.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["m-1", "m-2"]);
    assert_eq!((web.kind(), web.slots, web.slots_assumed), (v1::Kind::Openai, 1, true));
    assert_eq!(snapshot.revision, 1);
    running.stop().await;
}

#[tokio::test]
async fn the_figures_of_scheduling_reach_the_data_plane() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut follower = Follower::join(running.addr, "one").await;
    let first = follower.snapshot().await;
    assert_eq!(first.scheduling, None, "nothing is set");
    let set = v1::Scheduling { age_max: Some(proto::span(5000)), ..v1::Scheduling::default() };
    let update = v1::UpdateSchedulingRequest { scheduling: Some(set), expected_revision: 0 };
    let set = manage(running.addr).await.update_scheduling(update).await.unwrap().into_inner();
    let is_set = |snapshot: &v1::Snapshot| snapshot.scheduling == Some(set);
    follower.follow_with(first, "the figures", is_set).await;
    running.stop().await;
}

#[tokio::test]
async fn health_alone_is_a_small_message_and_only_differences_come() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m"]).await;
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let created = v1::CreateBackendRequest { backend: Some(backend("web", &fake.url())) };
    client.create_backend(created).await.unwrap();
    let mut follower = Follower::join(running.addr, "one").await;
    let healthy =
        |snapshot: &v1::Snapshot| snapshot.backends.iter().any(|backend| backend.health() == Health::Healthy);
    let snapshot = follower.snapshot_with("healthy", healthy).await;
    let asked = fake.seen().len();
    fake.set("GET /v1/models", 500, "{}");
    let follow_down::Message::Delta(change) = follower.next().await else { panic!("a whole snapshot") };
    assert!(fake.seen().len() > asked, "probes went on meanwhile and sent nothing");
    assert_eq!(change.base, snapshot.version);
    assert_eq!((change.backends.len(), change.health.len()), (0, 1));
    assert_eq!(change.health[0].health(), Health::Unhealthy);
    assert!(change.health[0].reason.contains("500"), "{}", change.health[0].reason);
    let snapshot = proto::apply(&snapshot, change).unwrap();
    fake.models(&["m"]);
    let follow_down::Message::Delta(back) = follower.next().await else { panic!("a whole snapshot") };
    assert_eq!((&back.base, back.health[0].health()), (&snapshot.version, Health::Healthy));
    assert_eq!(back.health[0].reason, "");
    let snapshot = proto::apply(&snapshot, back).unwrap();
    fake.models(&["m", "n"]);
    let two = |snapshot: &v1::Snapshot| snapshot.backends[0].models.len() == 2;
    follower.follow_with(snapshot, "two models", two).await;
    running.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_lineage_and_resources_and_counts_the_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let created = v1::CreateBackendRequest { backend: Some(backend("web", "http://127.0.0.1:9")) };
    client.create_backend(created).await.unwrap();
    client.create_route(v1::CreateRouteRequest { route: Some(route("r", "x", "web")) }).await.unwrap();
    let mut follower = Follower::join(running.addr, "one").await;
    let first = follower.snapshot_with("a route", |snapshot| snapshot.routes.len() == 1).await;
    running.stop().await;
    let running = start(dir.path()).await;
    let mut follower = Follower::join(running.addr, "one").await;
    let second = follower.snapshot().await;
    let (was, is) = (first.version.unwrap(), second.version.unwrap());
    assert_eq!((&is.lineage, is.epoch), (&was.lineage, was.epoch + 1));
    assert_eq!((was.lineage.len(), is.seq), (32, 1));
    assert_eq!((second.revision, second.routes, second.salt), (2, first.routes, first.salt));
    assert_eq!(second.backends[0].health(), Health::Unhealthy, "the first snapshot waits for a look");
    running.stop().await;
}

#[tokio::test]
async fn a_second_data_plane_is_a_spare_and_status_tells_all() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut one = Follower::join(running.addr, "one").await;
    let own = one.snapshot().await;
    assert!(own.owner);
    let mut two = Follower::join(running.addr, "two").await;
    let spare = two.snapshot().await;
    assert!(!spare.owner);
    two.say(follow_up::Message::Ack(v1::Ack { version: spare.version.clone(), unkept: false })).await;
    let faults = vec!["odd".to_owned()];
    one.say(follow_up::Message::Nack(v1::Nack { version: own.version.clone(), faults })).await;
    // Of what it had before it came here; it was still being written.
    let before = v1::Version { lineage: "another".to_owned(), epoch: 1, seq: 9 };
    one.say(follow_up::Message::Ack(v1::Ack { version: Some(before), unkept: false })).await;
    let load = v1::BackendLoad {
        name: "web".to_owned(),
        in_flight: 3,
        slots: 4,
        resting: "rests 2 s".to_owned(),
        permits: 3,
        parked: 1,
    };
    one.say(follow_up::Message::Load(v1::Load {
        queued: 7,
        backends: vec![load],
        sharing: v1::load::Sharing::Led as i32,
        term: 9,
        forwarded: 2,
    }))
    .await;
    let mut client = manage(running.addr).await;
    let planes = within("status", async {
        loop {
            let status = client.status(v1::StatusRequest {}).await.unwrap().into_inner();
            let planes = status.data_planes;
            if planes[1].acked.is_some() && planes[0].load.is_some() {
                return planes;
            }
        }
    });
    let planes = planes.await;
    assert_eq!((planes[0].id.as_str(), planes[0].lead, planes[1].lead), ("one", true, false));
    assert_eq!(planes[0].faults, ["odd"]);
    assert_eq!(planes[0].load.as_ref().unwrap().queued, 7);
    assert_eq!(planes[1].acked, spare.version);
    running.stop().await;
    // The owner is remembered: after a restart the spare, first to come, is a spare still.
    let running = start(dir.path()).await;
    let mut two = Follower::join(running.addr, "two").await;
    assert!(!two.snapshot().await.owner);
    let mut one = Follower::join(running.addr, "one").await;
    assert!(one.snapshot().await.owner);
    running.stop().await;
}

/// One that reads nothing for a while: the others have every change meanwhile, and it gets the newest whole when it reads.
#[tokio::test]
async fn a_slow_follower_holds_up_nobody_and_ends_at_the_newest() {
    const CHANGES: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut slow = Follower::join(running.addr, "slow").await;
    let mut good = Follower::join(running.addr, "good").await;
    let mut has = good.snapshot().await;
    let mut client = manage(running.addr).await;
    let mut routes: Vec<_> = (0..60).map(|n| route(&format!("r{n}"), &format!("m{n}"), "")).collect();
    for change in 0..CHANGES {
        // Some 90 KiB each: more than what the system keeps on the way, many times over.
        let target = |n: usize| v1::Target { model: format!("{n}{change:0>500}"), ..v1::Target::default() };
        routes.iter_mut().for_each(|route| route.targets = (0..3).map(target).collect());
        let config = v1::Config { routes: routes.clone(), ..v1::Config::default() };
        let apply = v1::ApplyRequest { config: Some(config), dry_run: false };
        let revision = within("an answer", client.apply(apply)).await.unwrap().into_inner().revision;
        has = good.follow_with(has, "each change", |snapshot| snapshot.revision == revision).await;
    }
    let newest = within("the newest", async {
        let (mut at, mut messages) = (v1::Snapshot::default(), 0);
        while at.version != has.version {
            at = match slow.next().await {
                follow_down::Message::Snapshot(whole) => whole,
                follow_down::Message::Delta(delta) => proto::apply(&at, delta).unwrap(),
                follow_down::Message::EngineLoads(_) | follow_down::Message::Beat(_) => at,
            };
            messages += 1;
        }
        (at, messages)
    });
    let (at, messages) = newest.await;
    assert_eq!(v1::Snapshot { owner: has.owner, ..at }, has);
    assert!(messages < CHANGES, "{messages} messages: nothing was left out for it");
    running.stop().await;
}

#[tokio::test]
async fn the_same_plane_again_ends_its_older_stream() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut old = Follower::join(running.addr, "one").await;
    old.snapshot().await;
    let mut new = Follower::join(running.addr, "one").await;
    assert!(new.snapshot().await.owner);
    let ended = within("the end", old.down.message()).await.unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Aborted);
    running.stop().await;
}

#[tokio::test]
async fn it_says_why_it_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let why = |error: Result<app::Running, app::StartError>| match error {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    };
    let second = why(app::start(rig::settings(dir.path())).await);
    assert!(second.contains("another control plane uses the state directory"), "{second}");
    assert!(second.contains(&dir.path().display().to_string()), "{second}");
    let mut taken = rig::settings(tempfile::tempdir().unwrap().path());
    taken.listen = running.addr;
    let taken = why(app::start(taken).await);
    assert!(taken.contains("another process listens there"), "{taken}");
    let mut open = rig::settings(tempfile::tempdir().unwrap().path());
    open.listen = "0.0.0.0:0".parse().unwrap();
    let open = why(app::start(open).await);
    assert!(open.contains("--insecure-listen"), "{open}");
    running.stop().await;
}
