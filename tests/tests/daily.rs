//! Small things of daily life that other balancers get wrong.

use std::{
    io,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use llmsim::{Kind, Settings, Sim};
use proto::v1::{self, Dialect};
use serde_json::{Value, json};
use tests::{
    feed::Feed,
    rig::{self, DEADLINE, Plane},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

const CHAT: &[Dialect] = &[Dialect::OpenaiChat];

fn sim(models: &[&str]) -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        prefill_tps: 0.0,
        decode_tps: 50.0,
        output_tokens: 25,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

fn row(name: &str, sim: &Sim, models: &[&str]) -> v1::SnapshotBackend {
    rig::backend(name, &sim.url(), v1::Kind::Vllm, 1, models, CHAT)
}

fn chat(plane: &Plane, model: &str) -> reqwest::RequestBuilder {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(&body)
}

async fn status(url: String) -> u16 {
    rig::client().get(url).send().await.expect("an answer").status().as_u16()
}

async fn names(plane: &Plane) -> Vec<String> {
    let listed = rig::client().get(format!("{}/v1/models", plane.url)).send().await.expect("a list");
    let listed: Value = listed.json().await.expect("JSON");
    let ids = listed["data"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["id"].as_str().expect("an id").to_owned());
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plane_without_a_usable_backend_lives_but_is_not_ready() {
    let sim = sim(&["m"]);
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |_| {}).await;
    let sick = v1::SnapshotBackend { health: v1::Health::Unhealthy as i32, ..row("one", &sim, &["m"]) };
    let drained = v1::SnapshotBackend { draining: true, ..row("one", &sim, &["m"]) };
    for (rows, ready) in
        [(vec![], 503), (vec![sick], 503), (vec![drained], 503), (vec![row("one", &sim, &["m"])], 200)]
    {
        let seq = feed.publish(rig::snapshot(rows)).await;
        feed.acked(seq, DEADLINE).await;
        assert_eq!(status(format!("{}/healthz", plane.admin)).await, 200, "snapshot {seq}");
        assert_eq!(status(format!("{}/readyz", plane.admin)).await, ready, "snapshot {seq}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_backend_takes_its_models_along_and_ends_its_work() {
    let (one, two) = (sim(&["shared", "alone"]), sim(&["shared"]));
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |_| {}).await;
    let rows = |draining| {
        let first = v1::SnapshotBackend { draining, ..row("one", &one, &["shared", "alone"]) };
        rig::snapshot(vec![first, row("two", &two, &["shared"])])
    };
    let seq = feed.publish(rows(false)).await;
    feed.acked(seq, DEADLINE).await;
    assert_eq!(names(&plane).await, ["alone", "shared"], "one row a name");
    let running = tokio::spawn(chat(&plane, "alone").send());
    assert!(one.wait(|stats| stats.busy == 1, DEADLINE).await);
    let seq = feed.publish(rows(true)).await;
    feed.acked(seq, DEADLINE).await;
    assert_eq!(names(&plane).await, ["shared"]);
    assert_eq!(chat(&plane, "shared").send().await.expect("an answer").headers()["x-llmb-backend"], "two");
    assert_eq!(chat(&plane, "alone").send().await.expect("an answer").status(), 503);
    assert_eq!(running.await.expect("no panic").expect("an answer").status(), 200);
    assert_eq!((one.stats().finished, one.stats().accepted), (1, 1));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_are_granted_nothing_by_the_operators_door() {
    let sim = sim(&["m"]);
    let plane = Plane::start(&rig::snapshot(vec![row("one", &sim, &["m"])]), |_| {}).await;
    for page in ["healthz", "readyz", "metrics", "view"] {
        for method in [reqwest::Method::GET, reqwest::Method::OPTIONS] {
            let request = rig::client().request(method, format!("{}/{page}", plane.admin));
            let request = request
                .header("origin", "http://evil.example")
                .header("access-control-request-method", "GET");
            let answer = request.send().await.expect("an answer");
            let grants = answer.headers().keys().filter(|name| name.as_str().starts_with("access-control"));
            assert_eq!(grants.count(), 0, "{page}: {:?}", answer.headers());
        }
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_turn_that_came_too_late_the_next_is_served_at_once() {
    let sim = sim(&["m"]);
    let plane = Plane::start(&rig::snapshot(vec![row("one", &sim, &["m"])]), |settings| {
        settings.queue_wait = Duration::from_millis(50);
    })
    .await;
    let running = tokio::spawn(chat(&plane, "m").send());
    assert!(sim.wait(|stats| stats.busy == 1, DEADLINE).await);
    assert_eq!(chat(&plane, "m").send().await.expect("an answer").status(), 503);
    assert_eq!(running.await.expect("no panic").expect("an answer").status(), 200);
    for _ in 0..3 {
        assert_eq!(chat(&plane, "m").send().await.expect("an answer").status(), 200);
    }
    plane.stop().await;
}

/// A server of Ollama that writes a line when it is told to.
async fn lines(listener: TcpListener, mut more: mpsc::Receiver<String>) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\"}") {
        assert!(stream.read_buf(&mut head).await? > 0, "a whole request");
    }
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await?;
    while let Some(line) = more.recv().await {
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// The next line is written when the client has read the one before: nothing holds a line back for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_of_ollama_goes_on_before_the_next_is_there() {
    const LINES: usize = 20;
    let listener = TcpListener::bind(rig::any_port()).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (tell, told) = mpsc::channel(1);
    let server = tokio::spawn(lines(listener, told));
    let row = rig::backend("one", &url, v1::Kind::Ollama, 1, &["m"], &[Dialect::OllamaNative]);
    let plane = Plane::start(&rig::snapshot(vec![row]), |_| {}).await;
    let line = |done: bool| {
        let said = json!({"role": "assistant", "content": if done { "" } else { "word " }});
        format!(
            "{}\n",
            json!({"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": said, "done": done})
        )
    };
    tell.send(line(false)).await.expect("it listens");
    // No `stream`: Ollama streams unless it is told not to.
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    assert!(body.ends_with("\"}"), "the server reads up to here: {body}");
    let request = rig::client().post(format!("{}/api/chat", plane.url)).body(body);
    let mut answer = request.send().await.expect("an answer").bytes_stream();
    let (mut text, began) = (String::new(), Instant::now());
    for number in 1..LINES {
        while text.lines().count() < number || !text.ends_with('\n') {
            text.push_str(&String::from_utf8_lossy(&answer.next().await.expect("a line").expect("bytes")));
        }
        assert!(began.elapsed() < DEADLINE, "line {number}");
        tell.send(line(number + 1 >= LINES)).await.expect("it listens");
    }
    drop(tell);
    while let Some(chunk) = answer.next().await {
        text.push_str(&String::from_utf8_lossy(&chunk.expect("a clean end")));
    }
    assert!(text.lines().count() == LINES && text.contains("\"done\":true"), "{text}");
    server.await.expect("no panic").expect("it wrote all");
    plane.stop().await;
}
