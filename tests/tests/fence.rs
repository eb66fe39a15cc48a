//! A data plane that counts as dead ends all that runs there, whatever it waits for.

use llmsim::{Kind, Settings, Sim};
use proto::v1;
use serde_json::json;
use tests::{
    feed::Feed,
    rig::{self, DEADLINE, Plane},
};
use tonic::Status;

fn sim(model: &str, (prefill_tps, decode_tps): (f64, f64)) -> Sim {
    llmsim::start(Settings {
        kind: Kind::Vllm,
        models: vec![model.to_owned()],
        slots: 1,
        prefill_tps,
        decode_tps,
        output_tokens: 100_000,
        ..Settings::default()
    })
    .expect("a simulated server starts")
}

fn ask(plane: &Plane, model: &str) -> reqwest::RequestBuilder {
    let messages = json!([{"role": "user", "content": "count"}]);
    let body = json!({"model": model, "stream": true, "max_tokens": 100_000, "messages": messages});
    rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(&body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_fenced_stops_engines_that_read_and_engines_that_write() {
    let (reads, writes) = (sim("reads", (0.01, 1.0)), sim("writes", (0.0, 5.0)));
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |_| {}).await;
    let said = feed.hello(DEADLINE).await;
    let own = v1::Registered {
        plane_id: said.plane_id,
        incarnation: said.incarnation,
        peer: said.peer,
        dead_through: said.incarnation - 1,
        draining: false,
        permits: true,
    };
    let other =
        v1::Registered { plane_id: "other".to_owned(), peer: "127.0.0.1:9".to_owned(), ..own.clone() };
    let (plane_id, incarnation) = (own.plane_id.clone(), own.incarnation);
    let mut planes = vec![own, other];
    planes.sort_by(|a, b| a.plane_id.cmp(&b.plane_id));
    let row = |sim: &Sim, name| {
        rig::backend(name, &sim.url(), v1::Kind::Vllm, 1, &[name], &[v1::Dialect::OpenaiChat])
    };
    let alone = v1::Snapshot {
        backends: vec![row(&reads, "reads"), row(&writes, "writes")],
        owner: true,
        salt: vec![7; 32],
        ..v1::Snapshot::default()
    };
    let seq = feed.publish(alone.clone()).await;
    feed.acked(seq, DEADLINE).await;
    let lead = Some(v1::Lead { plane_id, incarnation, term: 7, ..v1::Lead::default() });
    let seq = feed.publish(v1::Snapshot { owner: false, planes, lead, ..alone }).await;
    feed.acked(seq, DEADLINE).await;

    let reading = tokio::spawn(ask(&plane, "reads").send());
    let mut writing = ask(&plane, "writes").send().await.expect("an answer");
    assert!(writing.chunk().await.expect("a chunk").is_some());
    assert!(reads.wait(|stats| stats.running == 1, DEADLINE).await);
    feed.turn_away(Status::failed_precondition("it is dead")).await;
    for sim in [&reads, &writes] {
        assert!(sim.wait(|stats| stats.running == 0, DEADLINE).await, "the engine works on");
    }
    let told = tokio::time::timeout(DEADLINE, reading).await.expect("in time").expect("no panic");
    assert_eq!(told.expect("an answer").status(), 503);
    let rest = tokio::time::timeout(DEADLINE, writing.text()).await.expect("in time").expect("text");
    assert!(rest.contains("error"), "{rest}");
    // Nothing is started any more: the slots may be others' by now.
    assert_eq!((reads.stats().accepted, writes.stats().accepted), (1, 1));
}
