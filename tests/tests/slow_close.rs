//! Servers that close connections when it suits them, as llama.cpp does: on the hundredth request, after idling, and
//! while a request is on its way. No client sees it, and no server's health does.

mod slow_parts;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use proto::v1::{self, Dialect};
use serde_json::json;
use slow_parts::{COMPLETION, Chance, PATIENCE, message, ok, post};
use tests::rig::{self, Plane};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::timeout,
};

const REQUESTS_MAX: u32 = 100;
/// A body that does not fit in the buffers of a connection.
const LARGE_BYTES: usize = 8 << 20;

/// When a server closes.
#[derive(Clone, Copy)]
struct Habit {
    /// After idling for so long.
    idle: Duration,
    /// Whether it says so in its answers.
    tells: bool,
    /// After one in so many answers, at once.
    after: Option<u64>,
    /// When one in so many requests arrives on a kept connection, before it is read.
    before: Option<u64>,
}

struct Server {
    habit: Habit,
    chance: Mutex<Chance>,
    /// Requests that were read.
    asked: AtomicU64,
    connections: AtomicU64,
    /// Connections that were closed with a request on its way.
    raced: AtomicU64,
    /// Connections that were closed after idling.
    idled: AtomicU64,
}

impl Server {
    async fn start(habit: Habit) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let server = Arc::new(Self {
            habit,
            chance: Mutex::new(Chance(0x11a3)),
            asked: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            raced: AtomicU64::new(0),
            idled: AtomicU64::new(0),
        });
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (server, url)
    }

    fn draws(&self, one_in: Option<u64>) -> bool {
        one_in.is_some_and(|end| self.chance.lock().expect("whole").below(end) == 0)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut buffer = Vec::new();
        for number in 1..=REQUESTS_MAX {
            let Ok(arrived) = timeout(self.habit.idle, stream.peek(&mut [0])).await else {
                self.idled.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            };
            if number > 1 && arrived? > 0 && self.draws(self.habit.before) {
                self.raced.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            let Some((_, body)) = message(&mut stream, &mut buffer).await? else { return Ok(()) };
            self.asked.fetch_add(1, Ordering::Relaxed);
            let streamed = body.windows(13).any(|window| window == b"\"stream\":true");
            stream.write_all(&self.answer(number, streamed)).await?;
            if self.draws(self.habit.after) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(&self, number: u32, streamed: bool) -> Vec<u8> {
        let more = match (number, self.habit.tells) {
            (REQUESTS_MAX, _) => "connection: close\r\n",
            (_, true) => "keep-alive: timeout=5, max=100\r\n",
            (_, false) => "",
        };
        if !streamed {
            return ok(more, COMPLETION);
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"yes\"}}]}\n\n";
        format!("{head}{more}\r\n{}{}0\r\n\r\n", chunk(content), chunk("data: [DONE]\n\n")).into_bytes()
    }
}

/// What clients send, and how long they pause before each request at most.
#[derive(Clone, Copy)]
struct Load {
    clients: usize,
    requests: usize,
    body_bytes: usize,
    pause: (Duration, Duration),
}

/// Sends it all through a data plane in front of `url`; streams and answers in one piece in turn. Another server, which
/// could serve them as well, must not be asked.
async fn run(server: &Server, url: &str, load: Load) {
    let other = Server::start(Habit { idle: PATIENCE, tells: false, after: None, before: None }).await;
    let slots = load.clients as u32;
    let row =
        |name, url: &str| rig::backend(name, url, v1::Kind::Llamacpp, slots, &["m"], &[Dialect::OpenaiChat]);
    let first = v1::SnapshotBackend { priority: 10, ..row("llama", url) };
    // strictly by priority: many prompts at once would be worth the other server's time
    let route = v1::Route {
        name: "strict".to_owned(),
        r#match: Some(v1::route::Match::Exact("m".to_owned())),
        targets: vec![v1::Target { model: "m".to_owned(), ..v1::Target::default() }],
        policy: v1::Policy::Priority as i32,
        ..v1::Route::default()
    };
    let rows = rig::snapshot(vec![first, row("other", &other.1)]);
    let plane = Plane::start(&v1::Snapshot { routes: vec![route], ..rows }, |_| {}).await;
    let addr = plane.url.trim_start_matches("http://").to_owned();
    let clients = (0..load.clients).map(|client| {
        let addr = addr.clone();
        tokio::spawn(async move {
            let mut chance = Chance(client as u64);
            let mut stream = TcpStream::connect(&addr).await.expect("it listens");
            let mut buffer = Vec::new();
            for number in 0..load.requests {
                let (least, most) = load.pause;
                let pause = least + Duration::from_micros(chance.below((most - least).as_micros() as u64 + 1));
                assert!(timeout(pause, stream.peek(&mut [0])).await.is_err(), "nothing comes unasked");
                let content = "x".repeat(load.body_bytes);
                let body = json!({"model": "m", "messages": [{"role": "user", "content": content}], "stream": number % 2 == 1});
                stream.write_all(&post("/v1/chat/completions", "", &body.to_string())).await.expect("it reads");
                let answer = timeout(PATIENCE, message(&mut stream, &mut buffer)).await.expect("in time");
                let (head, body) = answer.expect("a whole answer").expect("an answer");
                let body = String::from_utf8_lossy(&body);
                assert!(head.starts_with("http/1.1 200") && body.contains("yes"), "{number}: {head}{body}");
                assert_eq!(body.contains("[DONE]"), number % 2 == 1, "{number}: {body}");
            }
        })
    });
    for client in join_all(clients).await {
        client.expect("no panic");
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{} requests on {} connections, {} closed over a request, {} after idling",
        count(&server.asked),
        count(&server.connections),
        count(&server.raced),
        count(&server.idled),
    );
    assert_eq!(count(&server.asked), (load.clients * load.requests) as u64, "each was read once");
    assert_eq!(count(&other.0.asked), 0, "none was tried elsewhere");
    let view = plane.view().await;
    for backend in view["backends"].as_array().expect("backends") {
        assert_eq!((&backend["breaker"], &backend["failed"]), (&json!("closed"), &json!(null)), "{view}");
    }
    plane.stop().await;
}

const NEVER: (Duration, Duration) = (Duration::ZERO, Duration::ZERO);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closes_cost_no_request() {
    let habit = Habit { idle: PATIENCE, tells: true, after: Some(12), before: Some(12) };
    let (server, url) = Server::start(habit).await;
    run(&server, &url, Load { clients: 4, requests: 500, body_bytes: 10, pause: NEVER }).await;
    assert!(server.raced.load(Ordering::Relaxed) > 50, "requests were on their way");
    assert!(server.connections.load(Ordering::Relaxed) < 1000, "connections are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_closes_over_a_large_body_costs_no_request() {
    let habit = Habit { idle: PATIENCE, tells: true, after: None, before: Some(3) };
    let (server, url) = Server::start(habit).await;
    run(&server, &url, Load { clients: 2, requests: 20, body_bytes: LARGE_BYTES, pause: NEVER }).await;
    assert!(server.raced.load(Ordering::Relaxed) > 5, "bodies were on their way");
}

/// The server's patience and the clients' pauses are alike, so that the two meet at every moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_requests_with_pauses_meet_a_server_that_closes_idle_connections() {
    let idle = Duration::from_millis(20);
    let (server, url) = Server::start(Habit { idle, tells: false, after: None, before: None }).await;
    let pause = (Duration::from_millis(10), Duration::from_millis(30));
    run(&server, &url, Load { clients: 8, requests: 250, body_bytes: 1000, pause }).await;
    assert!(server.idled.load(Ordering::Relaxed) > 100, "connections were closed");
}

/// The five seconds of llama.cpp as they are, told and untold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_seconds_of_idling_cost_no_request() {
    let pause = (Duration::from_millis(4995), Duration::from_millis(5005));
    let tries = [true, false].map(|tells| async move {
        let habit = Habit { idle: Duration::from_secs(5), tells, after: None, before: None };
        let (server, url) = Server::start(habit).await;
        run(&server, &url, Load { clients: 50, requests: 3, body_bytes: 1000, pause }).await;
    });
    join_all(tries).await;
}
