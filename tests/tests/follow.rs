//! A data plane that follows: deltas, one that does not fit, and being turned away.

use std::time::{Duration, Instant};

use llmsim::{Kind, Settings};
use proto::v1::{self, Dialect};
use serde_json::json;
use tests::{
    feed::Feed,
    rig::{self, DEADLINE, Plane},
};
use tonic::Status;

fn row(name: &str, sim: &llmsim::Sim) -> v1::SnapshotBackend {
    rig::backend(name, &sim.url(), v1::Kind::Openai, 1, &[name], &[Dialect::OpenaiChat])
}

fn sim(model: &str) -> llmsim::Sim {
    let settings = Settings {
        kind: Kind::Openai,
        models: vec![model.to_owned()],
        prefill_tps: 0.0,
        decode_tps: 0.0,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server")
}

async fn ask(plane: &Plane, model: &str) -> u16 {
    let body = json!({"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]});
    let url = format!("{}/v1/chat/completions", plane.url);
    rig::client().post(url).json(&body).send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_that_does_not_fit_changes_nothing_and_the_whole_comes_through() {
    let (one, two) = (sim("one"), sim("two"));
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |_| {}).await;
    let first = feed.publish(rig::snapshot(vec![row("one", &one)])).await;
    let add = v1::Delta { backends: vec![row("two", &two)], ..v1::Delta::default() };
    let second = feed.change(first, add).await;
    feed.acked(second, DEADLINE).await;
    assert_eq!((ask(&plane, "one").await, ask(&plane, "two").await), (200, 200));

    let gone = || v1::Delta { backends_gone: vec!["one".to_owned()], ..v1::Delta::default() };
    let missed = feed.change(first, gone()).await;
    // On its way before the refusal is known there: it leads nowhere from here.
    let after = feed.change(missed, gone()).await;
    let faults = feed.refused(DEADLINE).await;
    assert!(faults.len() == 1 && faults[0].contains("does not begin"), "{faults:?}");
    assert_eq!(ask(&plane, "one").await, 200, "what was served is served");
    let whole = feed.publish(rig::snapshot(vec![row("two", &two)])).await;
    let began = Instant::now();
    while feed.acked_now() < whole {
        assert!(began.elapsed() < DEADLINE, "the whole is not taken");
        tokio::task::yield_now().await;
    }
    assert_eq!((ask(&plane, "one").await, ask(&plane, "two").await), (404, 200));
    assert_eq!(feed.refused(DEADLINE).await.len(), 1, "{after} was passed over in silence");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_turned_away_starts_nothing_more() {
    let one = sim("one");
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |_| {}).await;
    let first = feed.publish(rig::snapshot(vec![row("one", &one)])).await;
    feed.acked(first, DEADLINE).await;
    assert_eq!(ask(&plane, "one").await, 200);
    feed.turn_away(Status::failed_precondition("incarnation 1 was declared dead")).await;
    let began = Instant::now();
    while ask(&plane, "one").await != 503 {
        assert!(began.elapsed() < DEADLINE, "it goes on");
        tokio::task::yield_now().await;
    }
    let served = one.stats().finished;
    assert_eq!((ask(&plane, "one").await, one.stats().finished), (503, served));
    let stopping = Instant::now();
    plane.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(10), "nobody has to be told of its end");
}
