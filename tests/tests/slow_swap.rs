//! A new snapshot every millisecond under load: no request fails, and none sees two of them.

mod slow_parts;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use proto::v1::{self, Dialect};
use serde_json::{Value, json};
use slow_parts::{PATIENCE, message, ok, planes::data, post};
use tests::{feed::Feed, rig};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{MissedTickBehavior, timeout},
};

const EVERY: Duration = Duration::from_millis(1);
const SWAPS: u64 = 10_000;
const CLIENTS: u64 = 8;
/// Servers, and names of backends. Version `v` has its backend `i` at server `(v + i) % SERVERS`.
const SERVERS: u64 = 4;
/// The first attempt of one in so many requests fails.
const FAILS: u64 = 20;

/// What the servers saw of each request, by its number: server and version, in order.
type Seen = Arc<Mutex<BTreeMap<u64, Vec<(u64, u64)>>>>;

/// Says who it is and what it was asked for, or that it failed.
async fn serve(server: u64, faults: bool, seen: Seen, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some((_, body)) = message(&mut stream, &mut buffer).await? {
        let asked: Value = serde_json::from_slice(&body).expect("JSON");
        let text = asked["messages"][0]["content"].as_str().expect("a text");
        let number: u64 = text.parse().expect("a number");
        let version: u64 = asked["model"]
            .as_str()
            .and_then(|model| model.strip_prefix("m-")?.parse().ok())
            .expect("m-VERSION");
        let first = {
            let mut seen = seen.lock().expect("whole");
            let attempts = seen.entry(number).or_default();
            attempts.push((server, version));
            attempts.len() == 1
        };
        if faults && first && number.is_multiple_of(FAILS) {
            stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}").await?;
            continue;
        }
        let said = format!("server {server} version {version}.");
        if asked["stream"] == true {
            stream.write_all(&streamed(&said)).await?;
            continue;
        }
        let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": asked["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}});
        stream.write_all(&ok("", &answer.to_string())).await?;
    }
    Ok(())
}

/// The answer as chunks, one a word.
fn streamed(said: &str) -> Vec<u8> {
    let mut answer =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    let event = |word: &str, reason: Value| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": reason}]});
        format!("data: {chunk}\n\n")
    };
    let words = said.split_inclusive(' ').map(|word| event(word, Value::Null));
    for event in words.chain([event("", json!("stop")), "data: [DONE]\n\n".to_owned()]) {
        answer.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    answer.push_str("0\r\n\r\n");
    answer.into_bytes()
}

struct Servers {
    urls: Vec<String>,
    seen: Seen,
    tasks: Vec<JoinHandle<()>>,
}

impl Servers {
    async fn start(faults: bool) -> Self {
        let (seen, mut urls, mut tasks) = (Seen::default(), Vec::new(), Vec::new());
        for server in 0..SERVERS {
            let listener = TcpListener::bind(rig::any_port()).await.expect("a port");
            urls.push(format!("http://{}", listener.local_addr().expect("bound")));
            let seen = seen.clone();
            tasks.push(tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // What ends with an error was closed by the other side.
                    tokio::spawn(serve(server, faults, seen.clone(), stream));
                }
            }));
        }
        Self { urls, seen, tasks }
    }

    /// All that a version says, so that any two in one request show: the model's name, and which name is which server.
    fn snapshot(&self, version: u64, names: &[u64], slots: u32) -> v1::Snapshot {
        let model = format!("m-{version}");
        let backends = names.iter().map(|name| {
            let url = &self.urls[((version + name) % SERVERS) as usize];
            rig::backend(&format!("b{name}"), url, v1::Kind::Vllm, slots, &[&model], &[Dialect::OpenaiChat])
        });
        let target = v1::Target { model: model.clone(), ..v1::Target::default() };
        let route = v1::Route {
            name: "r".to_owned(),
            r#match: Some(v1::route::Match::Exact("m".to_owned())),
            targets: vec![target],
            ..v1::Route::default()
        };
        v1::Snapshot { routes: vec![route], ..rig::snapshot(backends.collect()) }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One request of one client; its version and backend by the headers, once the body says the same.
async fn ask(stream: &mut TcpStream, buffer: &mut Vec<u8>, number: u64) -> (u64, u64) {
    let streams = number.is_multiple_of(2);
    let body = json!({"model": "m", "stream": streams, "messages": [{"role": "user", "content": number.to_string()}]});
    stream.write_all(&post("/v1/chat/completions", "", &body.to_string())).await.expect("it reads");
    let answer = timeout(PATIENCE, message(stream, buffer)).await.expect("in time");
    let (head, body) = answer.expect("a whole answer").expect("an answer");
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(head.starts_with("http/1.1 200"), "request {number}: {head}{body}");
    assert!(!streams || body.contains("[DONE]"), "request {number}: {body}");
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)).expect("it says who answered");
        line.trim().trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().expect("a number")
    };
    let (version, name) = (header("x-llmb-model:"), header("x-llmb-backend:"));
    for part in [format!("server {}", (version + name) % SERVERS), format!("version {version}.")] {
        let whole: String = contents(&body, streams);
        assert!(whole.contains(&part), "request {number} of version {version}, backend {name}: {body}");
    }
    (version, name)
}

/// The text of an answer.
fn contents(body: &str, streams: bool) -> String {
    if !streams {
        return body.to_owned();
    }
    let events =
        body.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    events.filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect()
}

/// Load while `SWAPS` snapshots are published, of which `names` says the backends of each.
async fn swaps(faults: bool, slots: u32, names: impl Fn(u64) -> Vec<u64>) {
    let servers = Servers::start(faults).await;
    let mut feed = Feed::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (plane, addr, _) = data(feed.url.trim_start_matches("http://"), folder.path());
    let first = feed.publish(servers.snapshot(1, &names(1), slots)).await;
    feed.acked(first, PATIENCE).await;
    let (over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (over, next, addr) = (over.clone(), next.clone(), addr.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(addr).await.expect("it listens");
                let (mut buffer, mut got) = (Vec::new(), BTreeMap::new());
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    got.insert(number, ask(&mut stream, &mut buffer, number).await);
                }
                got
            })
        })
        .collect();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    for version in 2..=SWAPS {
        tick.tick().await;
        feed.publish(servers.snapshot(version, &names(version), slots)).await;
    }
    feed.acked(SWAPS, PATIENCE).await;
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let (mut served, mut again, mut versions) = (0, 0, BTreeMap::new());
    let got = join_all(clients).await.into_iter().flat_map(|client| client.expect("no panic"));
    let seen = std::mem::take(&mut *servers.seen.lock().expect("whole"));
    for (number, (version, name)) in got {
        let attempts = &seen[&number];
        let last = attempts.last().expect("somebody answered");
        assert_eq!(*last, ((version + name) % SERVERS, version), "request {number}: {attempts:?}");
        assert!(
            attempts.iter().all(|(_, other)| *other == version),
            "request {number} saw two: {attempts:?}"
        );
        assert!(names(version).contains(&name), "request {number}: b{name} is not in version {version}");
        served += 1;
        again += usize::from(attempts.len() > 1);
        *versions.entry(version).or_insert(0) += 1;
    }
    println!(
        "{SWAPS} swaps in {took:?}; {served} requests, {again} of them tried twice, by {} versions",
        versions.len()
    );
    assert_eq!(served, seen.len(), "a request is asked that nobody sent");
    assert!(again > 0 || !faults, "nothing failed");
    assert!(plane.terminate().success());
}

/// Every version has all the names, each at another server than before; attempts fail and are made again elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_every_millisecond_fails_nothing_and_mixes_nothing() {
    swaps(true, 4, |_| (0..SERVERS).collect()).await;
}

/// Every version has one backend with one slot, and another one than before: who waits loses what it waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_every_millisecond_under_a_queue_strands_nobody() {
    swaps(false, 1, |version| vec![version % SERVERS]).await;
}
