//! Where other balancers fail, and no other test here would see it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use llmsim::{Kind, Settings, Sim};
use proto::v1::{self, Dialect};
use serde_json::{Value, json};
use tests::{
    rig::{self, DEADLINE, Plane},
    script::{Reply, Script},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

const SPOKEN: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::OllamaNative];

fn sim(kind: Kind, output_tokens: u32) -> Sim {
    let settings = Settings {
        kind,
        models: vec!["m1".to_owned()],
        slots: 64,
        prefill_tps: 0.0,
        decode_tps: 1000.0,
        output_tokens,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

fn row(name: &str, sim: &Sim, slots: u32, priority: i32) -> v1::SnapshotBackend {
    let row = rig::backend(name, &sim.url(), v1::Kind::Openai, slots, &["m1"], &SPOKEN);
    v1::SnapshotBackend { priority, ..row }
}

fn chat(plane: &Plane, model: &str) -> reqwest::RequestBuilder {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    rig::client().post(format!("{}/v1/chat/completions", plane.url)).json(&body)
}

/// Strictly in order, below zero as well, in every dialect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_highest_priority_with_a_free_slot_gets_it_also_below_zero() {
    let bodies = [
        (Kind::Vllm, "/v1/chat/completions", json!({"messages": [{"role": "user", "content": "hi"}]})),
        (
            Kind::Anthropic,
            "/v1/messages",
            json!({"max_tokens": 99999, "messages": [{"role": "user", "content": "hi"}]}),
        ),
        (Kind::Ollama, "/api/generate", json!({"prompt": "hi"})),
    ];
    for (kind, path, mut body) in bodies {
        let sims = [-5, 7, 0, -6].map(|priority| (priority, sim(kind, 99_999)));
        let rows = sims.iter().map(|(priority, sim)| row(&format!("p{priority}"), sim, 1, *priority));
        let plane = Plane::start(&rig::snapshot(rows.collect()), |_| {}).await;
        (body["model"], body["stream"]) = (json!("m1"), json!(true));
        let mut running: Vec<JoinHandle<_>> = Vec::new();
        for wanted in [7, 0, -5, -6] {
            let asked = rig::client().post(format!("{}{path}", plane.url)).json(&body).send();
            running.push(tokio::spawn(asked));
            let (_, sim) = sims.iter().find(|(priority, _)| *priority == wanted).expect("it is there");
            assert!(sim.wait(|stats| stats.accepted == 1, DEADLINE).await, "{path}: {wanted} is not next");
        }
        drop(running);
        plane.stop().await;
    }
}

/// The first name that anyone serves decides, at once, and the server hears its own name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_models_is_served_by_the_first_that_is_there() {
    let sim = sim(Kind::Vllm, 2);
    let plane = Plane::start(&rig::snapshot(vec![row("one", &sim, 1, 0)]), |_| {}).await;
    let answer = chat(&plane, "nope, m1").send().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-llmb-model"]),
        (200, &"m1".parse().expect("a value"))
    );
    assert_eq!(sim.stats().requests[0].model, "m1");
    let began = Instant::now();
    assert_eq!(chat(&plane, "nope,(,nada").send().await.expect("an answer").status(), 404);
    assert!(began.elapsed() < DEADLINE / 4, "it waited");
    plane.stop().await;
}

/// What a client says of its address does not reach a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_headers_are_not_passed_on() {
    let said = r#"{"id":"c","object":"chat.completion","created":1,"model":"m1","choices":[]}"#;
    let reply = Reply::ok("application/json", vec![said.into()]);
    let script = Script::start(reply).await.expect("the backend starts");
    let url = format!("http://{}", script.addr);
    let row = rig::backend("one", &url, v1::Kind::Openai, 4, &["m1"], &[Dialect::OpenaiChat]);
    let plane = Plane::start(&rig::snapshot(vec![row]), |_| {}).await;
    let asked =
        chat(&plane, "m1").header("x-forwarded-for", "203.0.113.7").header("forwarded", "for=203.0.113.7");
    assert_eq!(asked.send().await.expect("an answer").status(), 200);
    let head = script.taken().remove(0).head.to_lowercase();
    assert!(!head.contains("forwarded") && !head.contains("203.0.113.7"), "{head}");
    plane.stop().await;
}

/// Each on a connection that is kept, and no more connections than that to the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_keep_their_connections() {
    const CLIENTS: u64 = 64;
    const EACH: u64 = 20;
    let sim = sim(Kind::Vllm, 1);
    let plane = Plane::start(&rig::snapshot(vec![row("one", &sim, 64, 0)]), |_| {}).await;
    let clients = (0..CLIENTS).map(|_| {
        let (url, body) =
            (plane.url.clone(), json!({"model": "m1", "messages": [{"role": "user", "content": "hi"}]}));
        tokio::spawn(async move {
            let client = rig::client();
            let mut answered = std::collections::BTreeSet::new();
            for _ in 0..EACH {
                let answer = client.post(format!("{url}/v1/chat/completions")).json(&body).send().await;
                let answer = answer.expect("an answer");
                assert_eq!(answer.status(), 200);
                assert!(!answer.headers().contains_key("connection"), "{:?}", answer.headers());
                answered.insert(answer.json::<Value>().await.expect("JSON")["id"].to_string());
            }
            assert_eq!(answered.len() as u64, EACH, "an answer for each");
        })
    });
    join_all(clients).await.into_iter().for_each(|client| client.expect("no panic"));
    let stats = sim.stats();
    assert_eq!(stats.finished, CLIENTS * EACH);
    // One of each thread that serves may be on its way besides.
    assert!(stats.connected <= 2 * CLIENTS, "{} connections to the server", stats.connected);
    let settled = Instant::now() + Duration::from_secs(20);
    while plane.view().await["backends"][0]["busy"] != 0 {
        assert!(Instant::now() < settled, "slots are not back");
    }
    plane.stop().await;
}

/// A connection that idles is kept for longer than one whose head does not come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_kept_and_slow_heads_behind_them_are_not() {
    const HEAD: Duration = Duration::from_millis(300);
    let plane = Plane::start(&rig::snapshot(Vec::new()), |settings| {
        settings.head_wait = HEAD;
        settings.idle_wait = 6 * HEAD;
    })
    .await;
    let connect = async || {
        TcpStream::connect(plane.url.trim_start_matches("http://")).await.expect("the data plane listens")
    };
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    // What is sent, and how long the connection lasts: silence on a new one, after an answer, and half a head there.
    for (sent, least, what) in [
        (vec![], HEAD, "a connection without a request"),
        (vec![request], 6 * HEAD, "an idle one"),
        (vec![request, request], 6 * HEAD, "an idle one after two"),
        (vec![request, "GET /healthz HTTP/1.1\r\n"], HEAD, "half a head"),
    ] {
        let mut stream = connect().await;
        let mut buffer = vec![0; 4096];
        for piece in &sent {
            stream.write_all(piece.as_bytes()).await.expect("it reads");
            if piece.ends_with("\r\n\r\n") {
                let read =
                    timeout(DEADLINE, stream.read(&mut buffer)).await.expect("in time").expect("an answer");
                assert!(buffer[..read].starts_with(b"HTTP/1.1 200"), "{what}");
            }
        }
        let began = Instant::now();
        let end = timeout(DEADLINE, stream.read(&mut buffer)).await.expect("it is closed");
        let lasted = began.elapsed();
        assert_eq!(end.unwrap_or_default(), 0, "{what}");
        assert!(lasted + HEAD / 3 >= least, "{what}: closed after {lasted:?}");
    }
    // The two at once: the slow head is closed while the idle one, which is older, lives.
    let (mut idle, mut slow) = (connect().await, connect().await);
    for stream in [&mut idle, &mut slow] {
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let read = timeout(DEADLINE, stream.read(&mut [0; 4096])).await.expect("in time");
        assert!(read.expect("an answer") > 0);
    }
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").await.expect("it reads");
    let (mut one, mut other) = ([0; 16], [0; 16]);
    tokio::select! {
        biased;
        _ = slow.read(&mut one) => {}
        _ = idle.read(&mut other) => panic!("the idle one is closed first"),
    }
    plane.stop().await;
}
