//! The deadlines of a route: what the client sees when each passes, and what the breaker does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use llmsim::{Fault, Kind, Settings, Sim};
use proto::v1::{self, Dialect};
use serde_json::{Value, json};
use tests::rig::{self, Plane};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const SHORT: u64 = 300;

fn sim(decode_tps: f64, output_tokens: u32) -> Sim {
    let settings = Settings {
        kind: Kind::Openai,
        models: vec!["m".to_owned()],
        slots: 8,
        prefill_tps: 0.0,
        decode_tps,
        output_tokens,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

/// All long, so that the one under test passes first.
fn long() -> v1::Deadlines {
    v1::Deadlines {
        connect: Some(proto::span(20_000)),
        first_token: Some(proto::span(20_000)),
        between_tokens: Some(proto::span(20_000)),
        total: Some(proto::span(60_000)),
    }
}

/// The first backend is preferred; the others are there for what it fails.
async fn plane(urls: &[&str], deadlines: v1::Deadlines) -> Plane {
    let names = ["bad", "good"];
    let backend = |(at, url): (usize, &&str)| {
        let mut row = rig::backend(names[at], url, v1::Kind::Openai, 8, &["m"], &[Dialect::OpenaiChat]);
        row.priority = 10 - i32::try_from(at).expect("few");
        row
    };
    let mut snapshot = rig::snapshot(urls.iter().enumerate().map(backend).collect());
    snapshot.routes.push(v1::Route {
        name: "timed".to_owned(),
        r#match: Some(v1::route::Match::Exact("timed".to_owned())),
        targets: vec![v1::Target { model: "m".to_owned(), backend: String::new(), weight: None }],
        deadlines: Some(deadlines),
        ..v1::Route::default()
    });
    Plane::start(&snapshot, |_| {}).await
}

fn chat(stream: bool) -> Value {
    json!({"model": "timed", "messages": [{"role": "user", "content": "hi"}], "stream": stream, "max_tokens": 1})
}

async fn ask(plane: &Plane, body: &Value) -> reqwest::Response {
    let request = rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(body);
    request.send().await.expect("an answer")
}

async fn breaker(plane: &Plane, backend: &str) -> String {
    let view = plane.view().await;
    let rows = view["backends"].as_array().expect("backends").clone();
    let row = rows.iter().find(|row| row["name"] == backend).expect("the backend is there").clone();
    format!("{} after {}", row["breaker"], row["failed"])
}

/// A server that accepts no connection: its queue of one is full.
fn deaf() -> (std::net::SocketAddr, Vec<Box<dyn std::any::Any + Send>>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bound");
    socket.listen(0).expect("listens");
    let addr = socket.local_addr().expect("bound").as_socket().expect("IPv4");
    let mut kept: Vec<Box<dyn std::any::Any + Send>> = vec![Box::new(socket)];
    while let Ok(waiting) = std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
        kept.push(Box::new(waiting));
    }
    (addr, kept)
}

/// A server that begins a stream and then only says that it lives.
async fn pinging(asked: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                let mut next = format!("{head}{role}");
                let mut pace = tokio::time::interval(Duration::from_millis(20));
                while stream.write_all(next.as_bytes()).await.is_ok() {
                    next = ": ping\n\n".to_owned();
                    pace.tick().await;
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connect_deadline_moves_on_and_opens_the_breaker() {
    let (addr, _kept) = deaf();
    let good = sim(500.0, 4);
    let deadlines = v1::Deadlines { connect: Some(proto::span(SHORT)), ..long() };
    let url = format!("http://{addr}");
    let two = plane(&[&url, &good.url()], deadlines).await;
    let response = ask(&two, &chat(true)).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["x-llmb-backend"].to_str().unwrap()),
        (200, "good")
    );
    assert!(breaker(&two, "bad").await.contains("open"), "{}", breaker(&two, "bad").await);
    two.stop().await;
    let one = plane(&[&url], deadlines).await;
    let response = ask(&one, &chat(false)).await;
    assert_eq!(response.status(), 504);
    let said = response.text().await.expect("a body");
    assert!(said.contains("connect deadline of 0.3 s passed on backend bad"), "{said}");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_token_deadline_moves_on_and_counts_when_nothing_was_heard() {
    let deadlines = v1::Deadlines { first_token: Some(proto::span(SHORT)), ..long() };
    for (fault, stream) in [(Fault::Stall, true), (Fault::Stall, false), (Fault::StallAfterHeaders, true)] {
        let (bad, good) = (sim(500.0, 4), sim(500.0, 4));
        let two = plane(&[&bad.url(), &good.url()], deadlines).await;
        bad.set_fault(fault.clone(), None);
        let response = ask(&two, &chat(stream)).await;
        let place = format!("{fault:?}, stream {stream}");
        assert_eq!(response.status(), 200, "{place}");
        assert_eq!(response.headers()["x-llmb-backend"], "good", "{place}");
        assert!(
            breaker(&two, "bad").await.contains("did not come in time"),
            "{place}: {}",
            breaker(&two, "bad").await
        );
        two.stop().await;
        let one = plane(&[&bad.url()], deadlines).await;
        let response = ask(&one, &chat(stream)).await;
        assert_eq!(response.status(), 504, "{place}");
        assert_eq!(response.headers()["x-should-retry"], "false", "{place}");
        let said = response.text().await.expect("a body");
        assert!(said.contains("first token deadline of 0."), "{said}");
        assert!(said.contains("(0.3 s and 0."), "{said}");
        assert!(said.contains(" passed on backend bad"), "{said}");
        one.stop().await;
    }
}

/// Role-only elements and pings are no content, but a server that sends them lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lives_is_left_for_another_and_keeps_its_good_name() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (url, good) = (pinging(asked.clone()).await, sim(500.0, 4));
    let deadlines = v1::Deadlines { first_token: Some(proto::span(SHORT)), ..long() };
    let two = plane(&[&url, &good.url()], deadlines).await;
    for round in 1..=6 {
        let response = ask(&two, &chat(true)).await;
        assert_eq!(response.headers()["x-llmb-backend"], "good", "round {round}");
        assert_eq!(asked.load(Ordering::Relaxed), round, "its breaker opened");
    }
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_between_tokens_is_told_in_the_stream_and_counts() {
    let deadlines = v1::Deadlines { between_tokens: Some(proto::span(SHORT)), ..long() };
    let (bad, good) = (sim(500.0, 40), sim(500.0, 40));
    bad.set_fault(Fault::StallMidStream { after: 2 }, None);
    let plane = plane(&[&bad.url(), &good.url()], deadlines).await;
    let mut body = chat(true);
    body["max_tokens"] = json!(40);
    let said = ask(&plane, &body).await.text().await.expect("an end in words");
    assert!(said.contains("between tokens deadline of 0.3 s passed on backend bad"), "{said}");
    assert!(!said.contains("[DONE]"), "{said}");
    assert_eq!(good.stats().requests.len(), 0, "sent twice");
    let view = breaker(&plane, "bad").await;
    assert!(view.contains("broken answers"), "{view}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_total_ends_what_is_slow_but_alive_and_does_not_count() {
    let deadlines = v1::Deadlines {
        total: Some(proto::span(3 * SHORT)),
        between_tokens: Some(proto::span(20_000)),
        ..long()
    };
    let (slow, good) = (sim(20.0, 2000), sim(500.0, 4));
    let plane = plane(&[&slow.url(), &good.url()], deadlines).await;
    let mut body = chat(true);
    body["max_tokens"] = json!(2000);
    let began = Instant::now();
    let six = futures_util::future::join_all((0..6).map(|_| async {
        let response = ask(&plane, &body).await;
        assert_eq!(response.headers()["x-llmb-backend"], "bad");
        response.text().await.expect("an end in words")
    }));
    for said in six.await {
        assert!(said.contains("total deadline of 0.9 s passed on backend bad"), "{said}");
        assert!(!said.contains("[DONE]"), "{said}");
    }
    assert!(began.elapsed() >= Duration::from_millis(3 * SHORT));
    assert!(breaker(&plane, "bad").await.contains("closed"), "{}", breaker(&plane, "bad").await);
    // Before any content as well: no other try could be in time.
    slow.set_fault(Fault::Stall, None);
    let response = ask(&plane, &body).await;
    assert_eq!(response.status(), 504);
    let said = response.text().await.expect("a body");
    assert!(said.contains("total deadline of 0.9 s passed on backend bad"), "{said}");
    assert_eq!(good.stats().requests.len(), 0, "tried elsewhere");
    plane.stop().await;
}
