//! What a data plane tells of its requests: how each was placed, and a line as each ends.

use std::time::Instant;

use futures_util::StreamExt as _;
use llmsim::{Fault, Kind, Settings, Sim};
use proto::v1::{self, Dialect};
use reqwest::Response;
use serde_json::{Value, json};
use tests::rig::{self, DEADLINE, Plane};

fn sim(decode_tps: f64, prefill_tps: f64) -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        models: vec!["m".to_owned()],
        prefill_tps,
        decode_tps,
        output_tokens: 20,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

fn row(name: &str, sim: &Sim) -> v1::SnapshotBackend {
    rig::backend(name, &sim.url(), v1::Kind::Vllm, 1, &["m"], &[Dialect::OpenaiChat])
}

async fn send(plane: &Plane, model: &str, words: usize) -> Response {
    let text = format!("the-text-of-a-prompt {}", "word ".repeat(words));
    let body = json!({"model": model, "messages": [{"role": "user", "content": text}], "stream": true});
    let sent = rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(&body).send();
    sent.await.expect("an answer")
}

fn id(answer: &Response) -> String {
    answer.headers()["x-llmb-request-id"].to_str().expect("text").to_owned()
}

async fn explain(plane: &Plane, id: &str) -> (u16, Value) {
    let answer = rig::client().get(format!("{}/explain/{id}", plane.admin)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// Asks until it is as wanted.
async fn explained(plane: &Plane, id: &str, right: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let (status, told) = explain(plane, id).await;
        if status == 200 && right(&told) {
            return told;
        }
        assert!(began.elapsed() < DEADLINE, "{id} stays {status} {told:#}");
    }
}

/// Lines of the tail.
struct Tail {
    body: futures_util::stream::BoxStream<'static, Vec<u8>>,
    read: Vec<u8>,
}

impl Tail {
    async fn of(plane: &Plane) -> Self {
        let answer = rig::client().get(format!("{}/tail", plane.admin)).send().await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        let body = answer.bytes_stream().filter_map(|chunk| async { Some(chunk.ok()?.to_vec()) }).boxed();
        Self { body, read: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a line is JSON"));
            }
            let chunk = tokio::time::timeout(DEADLINE, self.body.next()).await.expect("a line in time")?;
            self.read.extend(chunk);
        }
    }

    async fn of_request(&mut self, id: &str) -> Value {
        loop {
            let line = self.next().await.expect("the line of a request");
            if line["id"] == id {
                return line;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_winner_that_is_told_is_who_answered() {
    let (one, two) = (sim(5000.0, 0.0), sim(5000.0, 0.0));
    let plane = Plane::start(&rig::snapshot(vec![row("one", &one), row("two", &two)]), |_| {}).await;
    let mut tail = Tail::of(&plane).await;
    for turn in 0..20 {
        let answer = send(&plane, "m", 400 + turn).await;
        let (id, backend) =
            (id(&answer), answer.headers()["x-llmb-backend"].to_str().expect("text").to_owned());
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.expect("an answer");
        assert!(text.contains("[DONE]"));
        let line = tail.of_request(&id).await;
        assert_eq!((&line["state"], &line["status"]), (&json!("answered"), &json!(200)), "{line}");
        assert_eq!((&line["backend"], &line["asked"]), (&json!(backend), &json!("m")), "{line}");
        assert!(line["prompt_tokens"].as_u64() > Some(300) && line["output_tokens"] == 20, "{line}");
        let [queued, first, total] =
            ["queued_ms", "first_token_ms", "total_ms"].map(|key| line[key].as_f64().expect("a time"));
        assert!(0.0 < queued && queued <= first && first <= total, "{line}");
        let (status, told) = explain(&plane, &id).await;
        assert_eq!((status, &told["state"]), (200, &json!("answered")));
        let start = &told["starts"][0];
        let look = &start["story"]["looks"][0];
        assert_eq!((&start["backend"], &look["backend"]), (&json!(backend), &json!(backend)), "{told:#}");
        assert_eq!((&look["came_to"], &start["story"]["policy"]), (&json!("start"), &json!("cache-affine")));
        let candidates = look["candidates"].as_array().expect("candidates");
        assert_eq!((candidates.len(), &candidates[0]["backend"]), (2, &json!(backend)), "{told:#}");
        for candidate in candidates {
            let terms = candidate["terms"].as_object().expect("weighed");
            let sum: f64 = ["wait", "load", "prefill", "share", "eviction", "interference", "balance"]
                .map(|term| terms[term].as_f64().expect("seconds"))
                .iter()
                .sum();
            assert!((sum - terms["cost"].as_f64().expect("seconds")).abs() < 1e-9, "{told:#}");
            assert_eq!(candidate["model"], "m");
        }
        assert!(!format!("{told}{line}").contains("the-text-of"), "no text of a prompt");
    }
    for unknown in ["req_", "x", "req_0000000000000000", "req_00000000ffffffff"] {
        assert_eq!(explain(&plane, unknown).await.0, 404, "{unknown}");
    }
    plane.stop().await;
    while tail.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_runs_fails_leaves_or_is_refused_is_told_so() {
    let one = sim(0.0, 0.0);
    one.set_fault(Fault::StallMidStream { after: 3 }, Some(1));
    let plane = Plane::start(&rig::snapshot(vec![row("one", &one)]), |settings| {
        settings.queue_max = 1;
    })
    .await;
    let mut tail = Tail::of(&plane).await;
    let running = send(&plane, "m", 400).await;
    let first = id(&running);
    let told = explained(&plane, &first, |told| told["state"] == "running").await;
    assert!(told["starts"][0]["backend"] == "one" && told["total_ms"].is_null(), "{told:#}");
    // its id is the next one
    let prefix = &first[..first.len() - 8];
    let next = |id: &str| {
        let number = u32::from_str_radix(&id[id.len() - 8..], 16).expect("a number");
        format!("{prefix}{:08x}", number + 1)
    };
    let second = next(&first);
    let mut waiting = Box::pin(send(&plane, "m", 500));
    let told = tokio::select! {
        _ = &mut waiting => panic!("it waits"),
        told = explained(&plane, &second, |told| told["state"] == "waiting" && told["waited"].is_object()) => told,
    };
    let look = &told["waited"]["looks"][0];
    assert_eq!((&look["came_to"], &look["backend"]), (&json!("wait"), &Value::Null), "{told:#}");
    assert_eq!(look["candidates"][0]["slot"], "busy", "{told:#}");
    let full = send(&plane, "m", 500).await;
    assert_eq!(full.status(), 429);
    let line = tail.of_request(&id(&full)).await;
    assert_eq!(
        (&line["state"], &line["status"], &line["backend"]),
        (&json!("refused"), &json!(429), &Value::Null)
    );
    let (_, told) = explain(&plane, &id(&full)).await;
    assert!(told["waited"]["looks"][0]["candidates"][0]["backend"] == "one", "{told:#}");
    let unknown = send(&plane, "no-such-model", 1).await;
    let line = tail.of_request(&id(&unknown)).await;
    assert_eq!((&line["state"], &line["status"]), (&json!("refused"), &json!(404)), "{line}");
    drop(waiting);
    let line = tail.of_request(&second).await;
    assert_eq!((&line["state"], &line["backend"]), (&json!("client left"), &Value::Null), "{line}");
    drop(running);
    let line = tail.of_request(&first).await;
    assert_eq!((&line["state"], &line["backend"]), (&json!("client left"), &json!("one")), "{line}");
    one.set_fault(Fault::Status { code: 500, retry_after: None }, Some(1));
    let failed = send(&plane, "m", 400).await;
    assert_eq!(failed.status(), 500);
    let line = tail.of_request(&id(&failed)).await;
    assert_eq!((&line["state"], &line["status"]), (&json!("failed"), &json!(500)), "{line}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_may_listen() {
    let plane = Plane::start(&rig::snapshot(Vec::new()), |_| {}).await;
    let mut tails = Vec::new();
    for _ in 0..16 {
        tails.push(Tail::of(&plane).await);
    }
    let refused = rig::client().get(format!("{}/tail", plane.admin)).send().await.expect("an answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.text().await.expect("text").contains("16 listen already"));
    let answer = send(&plane, "m", 1).await;
    for tail in &mut tails {
        assert_eq!(tail.next().await.expect("a line")["id"], id(&answer));
    }
    plane.stop().await;
}
