//! SIGTERM: who waits is sent away kindly, who is served is served to the end, and nobody new is let in.

use std::{fs, time::Instant};

use futures_util::{StreamExt as _, future::join_all};
use llmsim::{Kind, Settings};
use proto::v1::{self, Dialect};
use serde_json::{Value, json};
use tests::{
    process::{Process, field},
    rig::{self, DEADLINE},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

fn chat(url: &str, stream: bool) -> reqwest::RequestBuilder {
    let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    rig::client().post(format!("{url}/v1/chat/completions")).json(&body)
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
    let path = folder.path().join("given.json");
    let row = rig::backend("one", &sim.url(), v1::Kind::Llamacpp, 1, &["m"], &[Dialect::OpenaiChat]);
    fs::write(&path, proto::to_json("Snapshot", &rig::snapshot(vec![row]))).expect("written");
    let (path, state) = (path.display().to_string(), folder.path().display().to_string());
    let places = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let args = [&["--snapshot", &path, "--state-dir", &state], &places[..]].concat();
    let process = Process::start("llmb-data", &args, &[]);
    let line = process.line("its address", |line| line.contains("data plane serves"));
    let (addr, admin) = (field(&line, "listen"), field(&line, "admin"));
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
