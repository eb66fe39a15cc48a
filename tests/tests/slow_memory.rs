//! What streams, large answers and many requests cost a data plane in memory and descriptors, on the real binary.

mod slow_parts;

use std::{
    fs, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use proto::v1::{self, Dialect};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use slow_parts::{COMPLETION, PATIENCE, message, ok, post};
use tests::{
    process::{Process, field},
    rig,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Streams at the same time.
const STREAMS: usize = 2000;
/// Clients that connect at the same time: more than a listener's backlog would only wait.
const CONNECTING: usize = 64;
/// Memory of one open stream; a build for development takes more.
const STREAM_BYTES_MAX: u64 = if cfg!(debug_assertions) { 64 * KIB } else { 32 * KIB };
const IDLE_MAX: u64 = if cfg!(debug_assertions) { 40 * MIB } else { 20 * MIB };
/// What a shell gives a process before it asks for more.
const FILES_GIVEN: u64 = 1024;
/// The answer that nobody reads.
const HUGE_BYTES: u64 = 192 * MIB;
const HUGE_GROWTH_MAX: u64 = 5 * MIB;
/// A server that cannot write for so long is held back by a client that does not read.
const HELD_BACK: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 8;
const WARM: usize = 5000;
const MANY: usize = 100_000;
const MANY_GROWTH_MAX: u64 = 10 * MIB;

/// Limits are of the whole process, and memory is measured: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn files(limit: impl FnOnce(u64) -> u64) {
    let known = getrlimit(Resource::Nofile);
    let maximum = known.maximum.unwrap_or(MIB);
    let current = Some(limit(maximum).min(maximum));
    setrlimit(Resource::Nofile, Rlimit { current, maximum: known.maximum })
        .expect("a lower limit is allowed");
}

/// A server that does what the name of the model says.
struct Server {
    url: String,
    /// How many chunks each stream has sent; the last one ends it.
    chunks: watch::Sender<u32>,
    /// Bytes written of the huge answer.
    written: Arc<AtomicU64>,
    /// A huge answer cannot be written on.
    held: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

const LAST: u32 = 6;

#[derive(Clone)]
struct Habits {
    chunks: watch::Receiver<u32>,
    written: Arc<AtomicU64>,
    held: Arc<watch::Sender<bool>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (chunks, told) = watch::channel(0);
        let (holds, held) = watch::channel(false);
        let written = Arc::new(AtomicU64::new(0));
        let habits = Habits { chunks: told, written: written.clone(), held: Arc::new(holds) };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let habits = habits.clone();
                // What ends with an error was closed by the other side.
                tokio::spawn(async move { habits.serve(stream).await });
            }
        });
        Self { url, chunks, written, held, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Habits {
    async fn serve(mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        while let Some((_, body)) = message(&mut stream, &mut buffer).await? {
            let asked: Value = serde_json::from_slice(&body).expect("JSON");
            match asked["model"].as_str() {
                Some("small") => stream.write_all(&ok("", COMPLETION)).await?,
                Some("ticks") => self.ticks(&mut stream).await?,
                _ => self.huge(&mut stream).await?,
            }
        }
        Ok(())
    }

    async fn ticks(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await?;
        for number in 1..=LAST {
            if self.chunks.wait_for(|told| *told >= number).await.is_err() {
                return Ok(());
            }
            let said = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "ticks",
                "choices": [{"index": 0, "delta": {"content": format!("tick {number} ")}, "finish_reason": null}]});
            let mut event = format!("data: {said}\n\n");
            if number == LAST {
                event.push_str("data: [DONE]\n\n");
            }
            let end = if number == LAST { "0\r\n\r\n" } else { "" };
            stream.write_all(format!("{:x}\r\n{event}\r\n{end}", event.len()).as_bytes()).await?;
        }
        Ok(())
    }

    async fn huge(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let (begin, end) =
            (&COMPLETION[..COMPLETION.find("yes").expect("it says so")], "\"},\"finish_reason\":\"stop\"}]}");
        let piece = [b'y'; 64 * 1024];
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {HUGE_BYTES}\r\n\r\n{begin}"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut left = HUGE_BYTES - (begin.len() + end.len()) as u64;
        while left > 0 {
            let next = &piece[..piece.len().min(left as usize)];
            let wrote = match timeout(HELD_BACK, stream.write(next)).await {
                Ok(wrote) => wrote?,
                Err(_) => {
                    self.held.send_replace(true);
                    stream.write(next).await?
                }
            };
            left -= wrote as u64;
            self.written.fetch_add(wrote as u64, Ordering::Relaxed);
        }
        stream.write_all(end.as_bytes()).await
    }
}

/// The data plane as a process, in front of one server.
struct Plane {
    process: Process,
    addr: String,
    _folder: tempfile::TempDir,
}

impl Plane {
    fn start(server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let models = ["small", "ticks", "huge"];
        let row =
            rig::backend("one", &server.url, v1::Kind::Vllm, STREAMS as u32, &models, &[Dialect::OpenaiChat]);
        let path = folder.path().join("given.json");
        fs::write(&path, proto::to_json("Snapshot", &rig::snapshot(vec![row]))).expect("written");
        let (path, state) = (path.display().to_string(), folder.path().display().to_string());
        let args = ["--snapshot", &path, "--state-dir", &state, "--listen", "127.0.0.1:0"];
        let process =
            Process::start("llmb-data", &[&args[..], &["--admin-listen", "127.0.0.1:0"]].concat(), &[]);
        let line = process.line("its address", |line| line.contains("data plane serves"));
        Self { addr: field(&line, "listen"), process, _folder: folder }
    }

    /// Resident memory, in bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has some");
        line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("in KiB") * KIB
    }

    async fn ask(&self, model: &str, stream: bool) -> TcpStream {
        let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
        let mut client = TcpStream::connect(&self.addr).await.expect("it listens");
        client.write_all(&post("/v1/chat/completions", "", &body.to_string())).await.expect("it reads");
        client
    }

    /// `requests` on [`CONNECTIONS`] kept connections, each of them answered.
    async fn many(&self, requests: usize) {
        let clients = (0..CONNECTIONS).map(|_| {
            let addr = self.addr.clone();
            tokio::spawn(async move {
                let body = json!({"model": "small", "messages": [{"role": "user", "content": "hi"}]});
                let request = post("/v1/chat/completions", "", &body.to_string());
                let mut stream = TcpStream::connect(addr).await.expect("it listens");
                let mut buffer = Vec::new();
                for _ in 0..requests / CONNECTIONS {
                    stream.write_all(&request).await.expect("it reads");
                    let answer = timeout(PATIENCE, message(&mut stream, &mut buffer)).await.expect("in time");
                    let (head, _) = answer.expect("a whole answer").expect("an answer");
                    assert!(head.starts_with("http/1.1 200"), "{head}");
                }
            })
        });
        for client in join_all(clients).await {
            client.expect("no panic");
        }
    }
}

/// Reads until `mark` has come.
async fn until(stream: &mut TcpStream, mark: &str) -> io::Result<()> {
    let mut seen = Vec::new();
    while !seen.windows(mark.len()).any(|window| window == mark.as_bytes()) {
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::Error::other(format!(
                "{mark:?} did not come: {}",
                String::from_utf8_lossy(&seen)
            )));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::await_holding_lock, reason = "one test at a time is what it is for")]
async fn two_thousand_streams_progress() {
    let _alone = alone();
    let server = Server::start().await;
    files(|_| FILES_GIVEN);
    let plane = Plane::start(&server);
    files(|maximum| maximum);
    plane.many(WARM).await;
    let before = plane.memory();
    server.chunks.send_replace(1);
    let mut streams: Vec<TcpStream> = Vec::with_capacity(STREAMS);
    while streams.len() < STREAMS {
        let mut opened =
            join_all((0..CONNECTING.min(STREAMS - streams.len())).map(|_| plane.ask("ticks", true))).await;
        for came in
            join_all(opened.iter_mut().map(|stream| timeout(PATIENCE, until(stream, "tick 1 ")))).await
        {
            came.expect("in time").unwrap_or_else(|error| panic!("{error}\n{}", plane.process.said()));
        }
        streams.append(&mut opened);
    }
    for number in 2..=LAST {
        if number == LAST {
            let each = plane.memory().saturating_sub(before) / STREAMS as u64;
            println!("{each} bytes for each of {STREAMS} open streams, {} KiB before", before / KIB);
            assert!(each <= STREAM_BYTES_MAX, "{each} bytes for each stream");
        }
        server.chunks.send_replace(number);
        let mark = if number == LAST { "[DONE]".to_owned() } else { format!("tick {number} ") };
        for came in join_all(streams.iter_mut().map(|stream| timeout(PATIENCE, until(stream, &mark)))).await {
            came.expect("in time").expect("every stream goes on");
        }
    }
    plane.many(CONNECTIONS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::await_holding_lock, reason = "one test at a time is what it is for")]
async fn an_answer_that_nobody_reads_costs_little() {
    let _alone = alone();
    let mut server = Server::start().await;
    let plane = Plane::start(&server);
    plane.many(WARM).await;
    let before = plane.memory();
    let mut client = plane.ask("huge", false).await;
    timeout(PATIENCE, server.held.wait_for(|held| *held))
        .await
        .expect("the server is held back")
        .expect("it lives");
    let grown = plane.memory().saturating_sub(before);
    let written = server.written.load(Ordering::Relaxed);
    println!(
        "{} KiB more after {} KiB were written, {} KiB before",
        grown / KIB,
        written / KIB,
        before / KIB
    );
    assert!(written < HUGE_BYTES, "nobody held the server back");
    assert!(grown < HUGE_GROWTH_MAX, "{grown} bytes more");
    // It is whole all the same when it is read at last.
    let (mut read, mut piece) = (0, vec![0; 256 * 1024]);
    let mut last = Vec::new();
    while !last.ends_with(b"\"finish_reason\":\"stop\"}]}") && !last.ends_with(b"0\r\n\r\n") {
        let more = timeout(PATIENCE, client.read(&mut piece)).await.expect("in time").expect("readable");
        assert!(more > 0, "it broke off after {read} bytes");
        read += more as u64;
        last.extend_from_slice(&piece[more.saturating_sub(64)..more]);
        last.drain(..last.len().saturating_sub(64));
    }
    assert!(read > HUGE_BYTES, "{read} bytes");
    let grown = plane.memory().saturating_sub(before);
    println!("{} KiB more after all was read", grown / KIB);
    assert!(grown < HUGE_GROWTH_MAX, "{grown} bytes more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::await_holding_lock, reason = "one test at a time is what it is for")]
async fn an_idle_data_plane_is_small() {
    let _alone = alone();
    let server = Server::start().await;
    let plane = Plane::start(&server);
    let fresh = plane.memory();
    plane.many(WARM).await;
    println!("{} KiB when started, {} KiB after {WARM} requests", fresh / KIB, plane.memory() / KIB);
    assert!(plane.memory() <= IDLE_MAX, "{} bytes", plane.memory());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::await_holding_lock, reason = "one test at a time is what it is for")]
async fn a_hundred_thousand_requests_leave_memory_where_it_was() {
    let _alone = alone();
    let server = Server::start().await;
    let plane = Plane::start(&server);
    plane.many(WARM).await;
    let before = plane.memory();
    plane.many(MANY).await;
    let after = plane.memory();
    println!("{} KiB before, {} KiB after {MANY} requests", before / KIB, after / KIB);
    assert!(after.abs_diff(before) <= MANY_GROWTH_MAX, "{before} bytes became {after}");
}
