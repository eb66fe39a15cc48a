//! A server that fails before its first content is unseen by the client; one that fails after it is never hidden.

use std::time::Duration;

use futures_util::StreamExt as _;
use llmsim::{Fault, Kind, Settings, Sim};
use proto::v1::{self, Dialect};
use serde_json::{Value, json};
use tests::rig::{self, DEADLINE, Plane};

/// One way to ask each dialect, streaming and not.
struct Way {
    kind: Kind,
    dialect: Dialect,
    path: &'static str,
    body: Value,
    /// In every whole answer.
    says: &'static str,
    stream: bool,
}

fn ways() -> Vec<Way> {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let way = |kind, dialect, path, body, says, stream| Way { kind, dialect, path, body, says, stream };
    let mut ways = Vec::new();
    for stream in [false, true] {
        let chat = json!({"model": "m", "messages": messages, "stream": stream, "max_tokens": 4});
        let done = |yes: &'static str, no: &'static str| if stream { yes } else { no };
        ways.push(way(
            Kind::Openai,
            Dialect::OpenaiChat,
            "/v1/chat/completions",
            chat.clone(),
            done("[DONE]", "\"choices\""),
            stream,
        ));
        ways.push(way(
            Kind::Anthropic,
            Dialect::AnthropicMessages,
            "/v1/messages",
            chat.clone(),
            done("message_stop", "\"content\""),
            stream,
        ));
        let input = json!({"model": "m", "input": "hi", "stream": stream});
        ways.push(way(
            Kind::Openai,
            Dialect::OpenaiResponses,
            "/v1/responses",
            input,
            done("response.completed", "\"output\""),
            stream,
        ));
        let contents = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
        let path = done("/v1beta/models/m:streamGenerateContent?alt=sse", "/v1beta/models/m:generateContent");
        ways.push(way(Kind::Gemini, Dialect::GeminiContent, path, contents, "finishReason", stream));
        ways.push(way(Kind::Ollama, Dialect::OllamaNative, "/api/chat", chat, "\"done\":true", stream));
    }
    ways
}

/// What a server does before its first content.
fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("refuses", Fault::Refuse),
        ("resets", Fault::ResetAtAccept),
        ("500", Fault::Status { code: 500, retry_after: None }),
        ("503", Fault::Status { code: 503, retry_after: None }),
        ("429", Fault::Status { code: 429, retry_after: Some(3) }),
        ("error first", Fault::ErrorFirst),
        ("bad JSON", Fault::BadJson),
        ("redirects", Fault::Redirect),
    ]
}

fn sim(kind: Kind) -> Sim {
    let settings = Settings {
        kind,
        models: vec!["m".to_owned()],
        slots: 4,
        prefill_tps: 0.0,
        decode_tps: 500.0,
        output_tokens: 4,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

/// `bad` is preferred; `good` is there for what it fails.
async fn plane(
    bad: &Sim,
    good: &Sim,
    dialect: Dialect,
    change: impl FnOnce(&mut dataplane::app::Settings),
) -> Plane {
    let mut first = rig::backend("bad", &bad.url(), v1::Kind::Openai, 4, &["m"], &[dialect]);
    first.priority = 10;
    let second = rig::backend("good", &good.url(), v1::Kind::Openai, 4, &["m"], &[dialect]);
    Plane::start(&rig::snapshot(vec![first, second]), change).await
}

async fn ask(plane: &Plane, way: &Way) -> reqwest::Response {
    let request = rig::client().post(format!("{}{}", plane.url, way.path)).json(&way.body);
    request.send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_before_content_is_unseen() {
    for way in ways() {
        for (what, fault) in faults() {
            let (bad, good) = (sim(way.kind), sim(way.kind));
            let plane = plane(&bad, &good, way.dialect, |_| {}).await;
            bad.set_fault(fault, None);
            let response = ask(&plane, &way).await;
            let place = format!("{what}, {}, stream {}", way.path, way.stream);
            assert_eq!(response.status(), 200, "{place}");
            assert_eq!(response.headers()["x-llmb-backend"], "good", "{place}");
            let text = response.text().await.expect("a whole answer");
            assert!(text.contains(way.says), "{place}: {text}");
            assert_eq!(good.stats().accepted, 1, "{place}");
            assert!(bad.stats().requests.len() <= 1, "{place}: tried twice");
            plane.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_after_content_is_told_and_not_repeated() {
    for way in ways().into_iter().filter(|way| way.stream) {
        for (what, fault) in
            [("dies", Fault::DieMidStream { after: 2 }), ("ends early", Fault::Truncate { after: 2 })]
        {
            let (bad, good) = (sim(way.kind), sim(way.kind));
            let plane = plane(&bad, &good, way.dialect, |_| {}).await;
            bad.set_fault(fault, None);
            let response = ask(&plane, &way).await;
            assert_eq!(response.status(), 200);
            let mut text = String::new();
            let mut stream = response.bytes_stream();
            while let Some(Ok(chunk)) = stream.next().await {
                text.push_str(&String::from_utf8_lossy(&chunk));
            }
            let place = format!("{what}, {}", way.path);
            assert!(text.contains("error"), "{place}: {text}");
            assert!(!text.contains(way.says), "{place}: {text}");
            assert_eq!(good.stats().requests.len(), 0, "{place}: sent twice");
            plane.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_fail_the_last_word_is_the_servers_own() {
    let way = &ways()[0];
    let (bad, good) = (sim(way.kind), sim(way.kind));
    let plane = plane(&bad, &good, way.dialect, |_| {}).await;
    for sim in [&bad, &good] {
        sim.set_fault(Fault::Status { code: 503, retry_after: Some(9) }, None);
    }
    let response = ask(&plane, way).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-should-retry"], "false");
    assert_eq!(response.headers()["retry-after"], "9");
    assert_eq!((bad.stats().requests.len(), good.stats().requests.len()), (1, 1));
    plane.stop().await;
}

/// A client's own fault is nobody else's business.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_is_not_tried_elsewhere() {
    let way = &ways()[0];
    let (bad, good) = (sim(way.kind), sim(way.kind));
    let plane = plane(&bad, &good, way.dialect, |_| {}).await;
    bad.set_fault(Fault::Status { code: 400, retry_after: None }, None);
    let response = ask(&plane, way).await;
    assert_eq!(response.status(), 400);
    assert!(!response.headers().contains_key("x-should-retry"));
    assert_eq!(good.stats().requests.len(), 0);
    plane.stop().await;
}

/// A stream that waits is kept alive in its dialect, and then goes on as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_stream_is_kept_alive() {
    for way in ways().into_iter().filter(|way| way.stream) {
        let (slow, other) = (sim(way.kind), sim(way.kind));
        let plane =
            plane(&slow, &other, way.dialect, |settings| settings.stream_wait = Duration::from_millis(100))
                .await;
        slow.set_fault(Fault::SlowStart(Duration::from_millis(1000)), None);
        let response = ask(&plane, &way).await;
        assert_eq!(response.status(), 200, "{}", way.path);
        assert_eq!(slow.stats().finished, 0, "{}: the head came before the answer", way.path);
        let text =
            tokio::time::timeout(DEADLINE, response.text()).await.expect("in time").expect("a whole answer");
        let alive = match way.dialect {
            Dialect::AnthropicMessages => text.starts_with("event: ping\n"),
            Dialect::GeminiContent => text.starts_with("\r\n"),
            Dialect::OllamaNative => text.starts_with('{') && text.contains("\"content\":\"\""),
            _ => text.starts_with(": "),
        };
        assert!(alive, "{}: {text}", way.path);
        assert!(text.contains(way.says), "{}: {text}", way.path);
        plane.stop().await;
    }
}

/// A server that failed rests, and is tried again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_again_and_again_rests_and_returns() {
    let way = &ways()[0];
    let (bad, good) = (sim(way.kind), sim(way.kind));
    let plane = plane(&bad, &good, way.dialect, |_| {}).await;
    bad.set_fault(Fault::Status { code: 500, retry_after: None }, None);
    for _ in 0..20 {
        assert_eq!(ask(&plane, way).await.status(), 200);
    }
    let tried = bad.stats().requests.len();
    assert!(tried < 10, "a server that fails was tried {tried} times in 20 requests");
    bad.clear_fault();
    let began = std::time::Instant::now();
    while bad.stats().finished == 0 {
        assert!(began.elapsed() < DEADLINE, "it does not come back");
        assert_eq!(ask(&plane, way).await.status(), 200);
    }
    plane.stop().await;
}

/// A kept connection that was closed is noticed at once; one that breaks later broke over the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_kills_its_server_on_a_kept_connection_is_not_sent_there_again() {
    let way = &ways()[0];
    let reads_slowly = Settings {
        kind: way.kind,
        models: vec!["m".to_owned()],
        slots: 4,
        prefill_tps: 1000.0,
        decode_tps: 0.0,
        ..Settings::default()
    };
    let bad = llmsim::start(reads_slowly).expect("a simulated server starts");
    let good = sim(way.kind);
    let plane = plane(&bad, &good, way.dialect, |settings| settings.threads = 1).await;
    assert_eq!(ask(&plane, way).await.headers()["x-llmb-backend"], "bad");
    bad.set_fault(Fault::DieMidStream { after: 0 }, None);
    let mut long = way.body.clone();
    // 1,500 tokens at 4 bytes each are read in 1.5 s.
    long["messages"][0]["content"] = json!("word ".repeat(1200));
    let request = rig::client().post(format!("{}{}", plane.url, way.path)).json(&long);
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-llmb-backend"], "good");
    let stats = bad.stats();
    assert_eq!((stats.connected, stats.requests.len()), (1, 2), "on the kept connection, and once");
    plane.stop().await;
}
