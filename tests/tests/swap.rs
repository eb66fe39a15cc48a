//! Snapshots that are swapped while requests wait: nobody is refused for a fleet that is no more.

use std::time::{Duration, Instant};

use llmsim::{Kind, Settings, Sim};
use proto::v1::{self, Dialect};
use serde_json::json;
use tests::{
    feed::Feed,
    rig::{self, DEADLINE, Plane},
};
use tokio::task::JoinHandle;

const CHAT: &[Dialect] = &[Dialect::OpenaiChat];

fn sim() -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        models: vec!["m".to_owned(), "other".to_owned()],
        prefill_tps: 0.0,
        decode_tps: 50.0,
        output_tokens: 5000,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

fn row(name: &str, sim: &Sim) -> v1::SnapshotBackend {
    rig::backend(name, &sim.url(), v1::Kind::Vllm, 1, &["m"], CHAT)
}

fn ask(plane: &Plane, tokens: u32) -> JoinHandle<reqwest::Response> {
    let body = json!({"model": "m", "max_tokens": tokens, "messages": [{"role": "user", "content": "hi"}]});
    let request = rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(&body);
    tokio::spawn(async move { request.send().await.expect("an answer") })
}

async fn waits(plane: &Plane, waiting: u64) {
    let began = Instant::now();
    while plane.view().await["waiting"] != waiting {
        assert!(began.elapsed() < DEADLINE, "{waiting} do not wait: {}", plane.view().await);
    }
}

/// What a second snapshot does with the only backend of the first.
async fn check(second: impl FnOnce(v1::SnapshotBackend) -> Vec<v1::SnapshotBackend>) {
    let (old, new) = (sim(), sim());
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |_| {}).await;
    let first = feed.publish(rig::snapshot(vec![row("old", &old)])).await;
    feed.acked(first, DEADLINE).await;
    let running = ask(&plane, 50);
    assert!(old.wait(|stats| stats.busy == 1, DEADLINE).await);
    let waiting = ask(&plane, 1);
    waits(&plane, 1).await;
    let mut rows = vec![row("new", &new)];
    rows.extend(second(row("old", &old)));
    feed.publish(rig::snapshot(rows)).await;
    let answer = waiting.await.expect("no panic");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-llmb-backend"], "new");
    assert_eq!(new.stats().finished, 1);
    // What ran is not touched.
    let answer = running.await.expect("no panic");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-llmb-backend"]),
        (200, &"old".parse().expect("a value"))
    );
    assert_eq!(old.stats().finished, 1);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_backend_that_leaves_is_routed_anew() {
    check(|_| Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_backend_that_drains_is_routed_anew() {
    check(|old| vec![v1::SnapshotBackend { draining: true, ..old }]).await;
}

/// A second server for the model takes who waits for the first, at once and with no new arrival; so does a route that
/// leads to a server which was there all along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_offered_what_comes() {
    for by_route in [false, true] {
        let (old, new) = (sim(), sim());
        let mut feed = Feed::start().await;
        let plane = Plane::follow(&feed.url, |settings| settings.queue_wait = Duration::from_secs(300)).await;
        let mut other = row("new", &new);
        if by_route {
            other.models[0].name = "other".to_owned();
        }
        let mut rows = vec![row("old", &old)];
        rows.splice(0..0, by_route.then(|| other.clone()));
        let first = feed.publish(rig::snapshot(rows.clone())).await;
        feed.acked(first, DEADLINE).await;
        let running = ask(&plane, 5000);
        assert!(old.wait(|stats| stats.busy == 1, DEADLINE).await);
        let waiting = ask(&plane, 1);
        waits(&plane, 1).await;
        let mut next = rig::snapshot(if by_route { rows } else { vec![other, row("old", &old)] });
        if by_route {
            let target =
                |model: &str| v1::Target { model: model.to_owned(), backend: String::new(), weight: None };
            next.routes.push(v1::Route {
                name: "both".to_owned(),
                r#match: Some(v1::route::Match::Exact("m".to_owned())),
                targets: vec![target("m"), target("other")],
                ..v1::Route::default()
            });
        }
        feed.publish(next).await;
        let answer = waiting.await.expect("no panic");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-llmb-backend"], "new");
        assert_eq!(old.stats().finished, 0, "the first server is still at work");
        running.abort();
        plane.stop().await;
    }
}

/// So it is with who was tried on one already: it waits for another, or would be told that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_failed_on_one_is_offered_what_comes() {
    for waits_for_another in [true, false] {
        let (bad, busy, new) = (sim(), sim(), sim());
        let mut feed = Feed::start().await;
        let plane = Plane::follow(&feed.url, |settings| settings.queue_wait = Duration::from_secs(300)).await;
        let slow = v1::SnapshotBackend { priority: 2, ..row("busy", &busy) };
        let mut rows: Vec<_> = waits_for_another.then_some(slow).into_iter().collect();
        rows.push(v1::SnapshotBackend { priority: 1, ..row("bad", &bad) });
        let first = feed.publish(rig::snapshot(rows.clone())).await;
        feed.acked(first, DEADLINE).await;
        let running = waits_for_another.then(|| ask(&plane, 5000));
        if running.is_some() {
            assert!(busy.wait(|stats| stats.busy == 1, DEADLINE).await);
        }
        // Held by a server that will break: with another one busy it waits for that afterwards.
        bad.set_fault(llmsim::Fault::Stall, None);
        let tried = ask(&plane, 1);
        assert!(bad.wait(|stats| !stats.requests.is_empty(), DEADLINE).await);
        if running.is_some() {
            bad.set_fault(llmsim::Fault::Refuse, None);
            waits(&plane, 1).await;
        }
        rows.push(row("new", &new));
        let seq = feed.publish(rig::snapshot(rows)).await;
        if running.is_none() {
            feed.acked(seq, DEADLINE).await;
            bad.set_fault(llmsim::Fault::Refuse, None);
        }
        let answer = tried.await.expect("no panic");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-llmb-backend"]),
            (200, &"new".parse().expect("a value"))
        );
        assert_eq!((busy.stats().finished, new.stats().finished), (0, 1));
        running.inspect(JoinHandle::abort);
        plane.stop().await;
    }
}

/// Who failed and finds another server by the same version goes there: it never sees two while one leads anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_failed_on_one_keeps_to_its_version() {
    let (bad, good, new) = (sim(), sim(), sim());
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |_| {}).await;
    let snapshot = |model: &str, rows: Vec<v1::SnapshotBackend>| {
        let target = v1::Target { model: model.to_owned(), backend: String::new(), weight: None };
        let route = v1::Route {
            name: "r".to_owned(),
            r#match: Some(v1::route::Match::Exact("asked".to_owned())),
            targets: vec![target],
            ..v1::Route::default()
        };
        v1::Snapshot { routes: vec![route], ..rig::snapshot(rows) }
    };
    let rows = vec![v1::SnapshotBackend { priority: 1, ..row("bad", &bad) }, row("good", &good)];
    let first = feed.publish(snapshot("m", rows.clone())).await;
    feed.acked(first, DEADLINE).await;
    bad.set_fault(llmsim::Fault::Stall, None);
    let body = json!({"model": "asked", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]});
    let request = rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(&body);
    let tried = tokio::spawn(async move { request.send().await.expect("an answer") });
    assert!(bad.wait(|stats| !stats.requests.is_empty(), DEADLINE).await);
    let mut other = row("new", &new);
    other.models[0].name = "other".to_owned();
    other.priority = 2;
    let mut rows = rows;
    rows[1].models.clear();
    rows.push(other);
    let second = feed.publish(snapshot("other", rows)).await;
    feed.acked(second, DEADLINE).await;
    bad.set_fault(llmsim::Fault::Refuse, None);
    let answer = tried.await.expect("no panic");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        (&answer.headers()["x-llmb-backend"], &answer.headers()["x-llmb-model"]),
        (&"good".parse().expect("a value"), &"m".parse().expect("a value"))
    );
    assert_eq!((good.stats().finished, new.stats().finished), (1, 0));
    plane.stop().await;
}

/// A name that nobody serves any more is told as such, and at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_model_that_is_gone_is_told() {
    let old = sim();
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |settings| settings.queue_wait = Duration::from_secs(300)).await;
    let first = feed.publish(rig::snapshot(vec![row("old", &old)])).await;
    feed.acked(first, DEADLINE).await;
    let running = ask(&plane, 5000);
    assert!(old.wait(|stats| stats.busy == 1, DEADLINE).await);
    let waiting = ask(&plane, 1);
    waits(&plane, 1).await;
    feed.publish(rig::snapshot(Vec::new())).await;
    assert_eq!(waiting.await.expect("no panic").status(), 404);
    running.abort();
    assert!(old.wait(|stats| stats.aborted == 1, DEADLINE).await);
    plane.stop().await;
}
