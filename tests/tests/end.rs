//! SIGTERM: who waits is sent away kindly, who is served is served to the end, and nobody new is let in.

use std::{fs, time::Instant};

use futures_util::{StreamExt as _, future::join_all};
use llmsim::{Kind, Settings};
use proto::v1::{self, Dialect};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    process::{Process, field},
    rig::{self, DEADLINE},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

fn chat(url: &str, stream: bool) -> reqwest::RequestBuilder {
    let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    rig::client().post(format!("{url}/v1/chat/completions")).json(&body)
}

/// A data plane of its own process: where it serves clients and the operator.
fn start(folder: &TempDir, row: v1::SnapshotBackend, grace_s: &str) -> (Process, String, String) {
    let path = folder.path().join("given.json");
    fs::write(&path, proto::to_json("Snapshot", &rig::snapshot(vec![row]))).expect("written");
    let (path, state) = (path.display().to_string(), folder.path().display().to_string());
    let places = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--grace", grace_s];
    let args = [&["--snapshot", &path, "--state-dir", &state], &places[..]].concat();
    let process = Process::start("llmb-data", &args, &[]);
    let line = process.line("its address", |line| line.contains("data plane serves"));
    (process, field(&line, "listen"), field(&line, "admin"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_refuses_who_waits_and_finishes_what_runs() {
    let settings = Settings {
        kind: Kind::Llamacpp,
        models: vec!["m".to_owned()],
        prefill_tps: 0.0,
        decode_tps: 50.0,
        output_tokens: 75,
        ..Settings::default()
    };
    let sim = llmsim::start(settings).expect("a simulated server starts");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row = rig::backend("one", &sim.url(), v1::Kind::Llamacpp, 1, &["m"], &[Dialect::OpenaiChat]);
    let (process, addr, admin) = start(&folder, row, "30");
    let url = format!("http://{addr}");

    let mut stream = chat(&url, true).send().await.expect("an answer").bytes_stream();
    let mut text = stream.next().await.expect("a chunk").expect("bytes").to_vec();
    let waiting = [false, true].map(|stream| tokio::spawn(chat(&url, stream).send()));
    let mut idle = TcpStream::connect(&addr).await.expect("it listens");
    let began = Instant::now();
    loop {
        let view = rig::client().get(format!("http://{admin}/view")).send().await.expect("an answer");
        let view: Value = view.json().await.expect("JSON");
        if view["waiting"] == 2 {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{view}");
    }
    process.ask_to_end();
    for refused in join_all(waiting).await {
        let refused = refused.expect("no panic").expect("an answer");
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"), "{:?}", refused.headers());
        let said: Value = refused.json().await.expect("the dialect's error");
        assert!(said["error"]["message"].is_string(), "{said}");
    }
    let end = timeout(DEADLINE, idle.read(&mut [0; 16])).await.expect("an idle connection is closed");
    assert_eq!(end.expect("cleanly"), 0);
    let began = Instant::now();
    while TcpStream::connect(&addr).await.is_ok() {
        assert!(began.elapsed() < DEADLINE, "it still listens");
    }
    while let Some(chunk) = stream.next().await {
        text.extend(chunk.expect("the stream goes on to its end"));
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(process.ended().code(), Some(0));
    assert_eq!((sim.stats().finished, sim.stats().aborted), (1, 0));
}

/// Paths, what a request asks for, and what the error frame of the dialect looks like.
const STREAMS: [(&str, &str, &str); 5] = [
    (
        "/v1/chat/completions",
        r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
        "data: {\"error\":",
    ),
    ("/v1/responses", r#"{"model":"m","stream":true,"input":"hi"}"#, "event: response.failed\n"),
    (
        "/v1/messages",
        r#"{"model":"m","stream":true,"max_tokens":9999,"messages":[{"role":"user","content":"hi"}]}"#,
        "event: error\ndata: {",
    ),
    (
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
        "data: {\"error\":",
    ),
    ("/api/chat", r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#, "{\"error\":"),
];

/// An answer that outlives the grace ends in its dialect's error, one that has not begun in an aborted connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_outlives_the_grace_is_told_as_cut_off() {
    let kinds = [Kind::Vllm, Kind::Vllm, Kind::Anthropic, Kind::Gemini, Kind::Ollama];
    join_all(kinds.into_iter().zip(STREAMS).map(|(kind, stream)| cut_off(kind, stream))).await;
}

async fn cut_off(kind: Kind, (path, body, mark): (&str, &str, &str)) {
    let settings = Settings {
        kind,
        models: vec!["m".to_owned()],
        slots: 2,
        prefill_tps: 0.0,
        decode_tps: 50.0,
        output_tokens: 5000,
        ..Settings::default()
    };
    let sim = llmsim::start(settings).expect("a simulated server starts");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let spoken = [
        Dialect::OpenaiChat,
        Dialect::OpenaiResponses,
        Dialect::AnthropicMessages,
        Dialect::GeminiContent,
        Dialect::OllamaNative,
    ];
    let row = rig::backend("one", &sim.url(), v1::Kind::Openai, 2, &["m"], &spoken);
    let (process, addr, _) = start(&folder, row, "0");
    let post = |path: &str, body: &str| {
        let request = rig::client().post(format!("http://{addr}{path}"));
        request.header("content-type", "application/json").body(body.to_owned()).send()
    };
    let mut stream = post(path, body).await.expect("an answer").bytes_stream();
    let mut text = stream.next().await.expect("a chunk").expect("bytes").to_vec();
    let whole = body.replace("\"stream\":true", "\"stream\":false");
    let whole = tokio::spawn(post(&path.replace("streamGenerateContent?alt=sse", "generateContent"), &whole));
    assert!(sim.wait(|stats| stats.busy == 2, DEADLINE).await, "{path}");
    process.ask_to_end();
    while let Some(chunk) = stream.next().await {
        text.extend(chunk.expect("the stream is ended by its error"));
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let end = text.rfind(mark).map(|at| &text[at..]);
    assert!(end.is_some_and(|end| end.contains("shutting down")), "{path}: {text}");
    assert!(
        !text.contains("[DONE]") && !text.contains("message_stop") && !text.contains("\"done\":true"),
        "{text}"
    );
    if path != "/api/chat" {
        assert!(whole.await.expect("no panic").is_err(), "{path}: an answer that is none");
    }
    let ended = tokio::task::spawn_blocking(|| process.ended()).await.expect("no panic");
    assert_eq!(ended.code(), Some(0), "{path}");
    assert!(sim.wait(|stats| stats.aborted == 2, DEADLINE).await, "{path}");
}
