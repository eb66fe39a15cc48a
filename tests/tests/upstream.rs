//! Servers that break the protocol or never end: the client gets its dialect's error or another server, soon, and no
//! other client waits.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use proto::v1::{self, Dialect};
use tests::{
    rig::{self, DEADLINE, Plane},
    script::{Reply, Script},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","choices":[]}"#;

/// What a rude server does with a request, once it has its head.
#[derive(Clone, Debug)]
struct Act {
    /// Said first.
    says: Vec<u8>,
    /// Then this, again and again, until the connection breaks.
    repeats: Vec<u8>,
    /// Reads on to the end, instead of closing over what is not read.
    reads: bool,
}

fn says(bytes: impl Into<Vec<u8>>) -> Act {
    Act { says: bytes.into(), repeats: Vec::new(), reads: false }
}

fn repeats(first: &str, then: impl Into<Vec<u8>>) -> Act {
    Act { says: first.into(), repeats: then.into(), reads: false }
}

/// A rude server; each connection that breaks is told. Stops when dropped.
struct Rude {
    url: String,
    broken: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl Rude {
    async fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (tell, broken) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (act, tell) = (act.clone(), tell.clone());
                tokio::spawn(async move {
                    perform(stream, &act).await;
                    // The test may be over.
                    let _ = tell.send(());
                });
            }
        });
        Self { url, broken, task }
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn perform(mut stream: TcpStream, act: &Act) {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    if stream.write_all(&act.says).await.is_err() {
        return;
    }
    while !act.repeats.is_empty() {
        if stream.write_all(&act.repeats).await.is_err() {
            return;
        }
    }
    let mut rest = [0; 4096];
    while act.reads && matches!(stream.read(&mut rest).await, Ok(1..)) {}
}

fn row(name: &str, url: &str, priority: i32) -> v1::SnapshotBackend {
    let mut row = rig::backend(name, url, v1::Kind::Openai, 4, &["m"], &[Dialect::OpenaiChat]);
    row.priority = priority;
    row
}

async fn alone(rude: &Rude) -> Plane {
    Plane::start(&rig::snapshot(vec![row("rude", &rude.url, 0)]), |_| {}).await
}

async fn ask(plane: &Plane, stream: bool, prompt: &str) -> reqwest::Response {
    let messages = serde_json::json!([{"role": "user", "content": prompt}]);
    let body = serde_json::json!({"model": "m", "stream": stream, "messages": messages});
    let sent = rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(&body).send().await;
    sent.expect("an answer")
}

async fn idle(what: &str, plane: &Plane) {
    let began = Instant::now();
    while plane.view().await["backends"][0]["busy"] != 0 {
        assert!(began.elapsed() < DEADLINE, "{what}: the slot is not given back");
    }
}

fn answers() -> Vec<(&'static str, Act)> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let huge = format!("{head}x-huge: {}\r\n\r\n{ANSWER}", "a".repeat(500_000));
    vec![
        ("endless headers", repeats(head, "x-more: yes\r\n".repeat(100))),
        ("an endless header", repeats(&format!("{head}x-long: "), "a".repeat(4096))),
        ("a huge header", says(huge)),
        ("an endless status line", repeats("HTTP/1.1 200 ", "O".repeat(4096))),
        ("garbage", says("\x15\x03\x01 hello\r\n\r\n")),
        ("an answer of HTTP/0.9", says(ANSWER)),
        ("another version", says(format!("HTTP/4.2 200 OK\r\n\r\n{ANSWER}"))),
        ("a status that is none", says("HTTP/1.1 9999 OK\r\n\r\n")),
        (
            "a switch of protocols",
            says("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhi"),
        ),
        ("nothing, with a length", says("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello")),
        ("not modified", says("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello")),
        ("an answer as to HEAD", says(format!("{head}content-length: 0\r\n\r\n"))),
        ("a redirect", says("HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")),
        (
            "lengths that differ",
            says(format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\n{ANSWER}")),
        ),
        ("chunks that lie", says(format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{ANSWER}\r\n"))),
        ("only informational answers", says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_breaks_the_protocol_is_unseen_or_told() {
    for (what, act) in answers() {
        let rude = Rude::start(act).await;
        let good = Script::start(Reply::ok("application/json", vec![ANSWER.into()])).await.expect("started");
        let began = Instant::now();
        let rows = vec![row("rude", &rude.url, 9), row("good", &good.url(), 0)];
        let plane = Plane::start(&rig::snapshot(rows), |_| {}).await;
        let response = ask(&plane, false, "hi").await;
        assert_eq!(response.status(), 200, "{what}");
        assert_eq!(response.headers()["x-llmb-backend"], "good", "{what}");
        assert_eq!(response.text().await.expect("a body"), ANSWER, "{what}");
        plane.stop().await;
        for stream in [false, true] {
            let plane = alone(&rude).await;
            let response = ask(&plane, stream, "hi").await;
            assert_eq!(response.status(), 502, "{what}, stream {stream}");
            let text = response.text().await.expect("a body");
            assert!(text.contains("\"error\"") && text.contains("rude"), "{what}: {text}");
            idle(what, &plane).await;
            plane.stop().await;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{what} takes {:?}", began.elapsed());
    }
}

/// Hints before the answer are skipped; without end they are cut, and hold up no one meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn informational_answers_are_skipped_within_bounds() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(50);
    let whole = format!("{hints}HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{ANSWER}", ANSWER.len());
    let rude = Rude::start(says(whole)).await;
    let plane = alone(&rude).await;
    assert_eq!(ask(&plane, false, "hi").await.text().await.expect("a body"), ANSWER);
    plane.stop().await;

    let mut rude = Rude::start(repeats("", hints)).await;
    let plane =
        Plane::start(&rig::snapshot(vec![row("rude", &rude.url, 0)]), |settings| settings.threads = 1).await;
    let began = Instant::now();
    let response = ask(&plane, false, "hi").await;
    assert_eq!(response.status(), 502);
    assert!(response.text().await.expect("a body").contains("rude"));
    tokio::time::timeout(DEADLINE, rude.broken.recv()).await.expect("the connection is closed");
    assert!(began.elapsed() < Duration::from_secs(15), "it is heard for {:?}", began.elapsed());
    idle("hints", &plane).await;
    plane.stop().await;
}

/// An answer without end flows as its client reads, and stops when the client leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_without_end_flow_and_stop_with_the_client() {
    let head = |kind: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n");
    let piece = "a".repeat(1 << 16);
    for (what, stream, first) in [
        ("an event", true, head("text/event-stream") + "data: {\"choices\":[{\"delta\":{\"content\":\""),
        ("no event", true, head("text/event-stream")),
        ("a comment", true, head("text/event-stream") + ": "),
        ("a value", false, head("application/json") + "{\"id\":\""),
    ] {
        let mut rude = Rude::start(repeats(&first, piece.clone())).await;
        let plane = alone(&rude).await;
        let mut response = ask(&plane, stream, "hi").await;
        assert_eq!(response.status(), 200, "{what}");
        let mut read = 0;
        // Beyond what is held of one element.
        while read < 20 << 20 {
            let chunk = response.chunk().await.expect("it flows").expect("it does not end");
            read += chunk.len();
        }
        drop(response);
        let closed = tokio::time::timeout(DEADLINE, rude.broken.recv()).await;
        closed.unwrap_or_else(|_| panic!("{what}: the server is still read")).expect("told");
        idle(what, &plane).await;
        plane.stop().await;
    }
}

/// A server may answer before it has the request whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answers_reach_the_client() {
    let refusal = r#"{"error":{"message":"too long","type":"invalid_request_error"}}"#;
    let head =
        format!("HTTP/1.1 400 x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", refusal.len());
    let prompt = "word ".repeat(1 << 20);
    for (what, reads) in [("reads on", true), ("closes", false)] {
        let rude = Rude::start(Act { reads, ..says(format!("{head}\r\n{refusal}")) }).await;
        let plane = alone(&rude).await;
        let response = ask(&plane, false, &prompt).await;
        let status = response.status().as_u16();
        // A connection closed over unread bytes may lose the answer.
        assert!(status == 400 || (!reads && status == 502), "{what}: {status}");
        let text = response.text().await.expect("a body");
        assert!(text.contains("\"error\"") && (status != 400 || text == refusal), "{what}: {text}");
        idle(what, &plane).await;
        plane.stop().await;
    }
}

/// A coding that was not asked for is passed on as it is, and named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packed_answer_passes_unread() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(ANSWER.as_bytes()).expect("memory takes all");
    let packed = encoder.finish().expect("memory takes all");
    let length = packed.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n"
    );
    let rude = Rude::start(says([head.as_bytes(), &packed].concat())).await;
    let plane = alone(&rude).await;
    let response = ask(&plane, false, "hi").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-encoding"]),
        (200, &"gzip".parse().expect("a value"))
    );
    assert_eq!(response.bytes().await.expect("a body"), packed);
    plane.stop().await;
}
