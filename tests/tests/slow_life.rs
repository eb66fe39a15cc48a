//! Processes that are killed: no client sees it, and nothing acknowledged is lost.

mod slow_parts;

use std::time::{Duration, Instant};

use llmsim::{Kind, Settings, Sim, now_us};
use proto::v1::{self, Dialect};
use serde_json::json;
use slow_parts::{
    Chance, PATIENCE,
    load::{Load, ask},
    message,
    planes::{address, control, manage},
    post,
};
use tests::{
    process::{Process, field},
    rig::{self, Plane},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Both planes as processes, and simulated servers behind them.
struct Planes {
    folder: tempfile::TempDir,
    listen: String,
    control: Option<Process>,
    data: Process,
    url: String,
    sims: Vec<Sim>,
}

impl Planes {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listen = address();
        let (control, _) = control(&listen, &folder.path().join("control"));
        let (url, state) = (format!("http://{listen}"), folder.path().join("data").display().to_string());
        let args = ["--control", &url, "--state-dir", &state, "--listen", "127.0.0.1:0"];
        let data =
            Process::start("llmb-data", &[&args[..], &["--admin-listen", "127.0.0.1:0"]].concat(), &[]);
        let line = data.line("its address", |line| line.contains("data plane serves"));
        let url = format!("http://{}", field(&line, "listen"));
        let sims: Vec<Sim> = (0..2).map(|_| sim()).collect();
        let mut client = manage(&listen).await;
        for (number, sim) in sims.iter().enumerate() {
            let backend = Some(backend(number, &sim.url(), 0));
            client.create_backend(v1::CreateBackendRequest { backend }).await.expect("added");
        }
        let planes = Self { folder, listen, control: Some(control), data, url, sims };
        planes.serves().await;
        planes
    }

    async fn serves(&self) {
        let (client, began) = (rig::client(), Instant::now());
        while ask(&client, &self.url, false).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "it is not served: {}", self.data.said());
        }
    }

    /// Waits until the data plane follows this control plane and has answered for its newest snapshot.
    async fn settled(&self) {
        let mut client = manage(&self.listen).await;
        let began = Instant::now();
        loop {
            let status = client.status(v1::StatusRequest {}).await.expect("a status").into_inner();
            let acked = |plane: &v1::DataPlane| plane.connected && plane.acked == status.version;
            if status.version.is_some() && status.data_planes.iter().any(acked) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no ack: {status:#?}");
        }
    }
}

fn backend(number: usize, url: &str, priority: i32) -> v1::Backend {
    v1::Backend { name: format!("b{number}"), url: url.to_owned(), priority, ..v1::Backend::default() }
}

fn sim() -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        models: vec!["m".to_owned()],
        slots: 16,
        decode_tps: 1000.0,
        prefill_tps: 0.0,
        output_tokens: 4,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_the_control_plane_is_killed_again_and_again() {
    const KILLS: usize = 5;
    let mut planes = Planes::new().await;
    let load = Load::start(&planes.url);
    for _ in 0..KILLS {
        load.more(50).await;
        planes.control.take().expect("it runs").kill();
        load.more(50).await;
        planes.control = Some(control(&planes.listen, &planes.folder.path().join("control")).0);
        planes.settled().await;
    }
    let served = load.end().await;
    println!("{served} requests served, {KILLS} kills");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_snapshots_are_swapped() {
    const LASTING: Duration = Duration::from_secs(10);
    const SWAPS_MIN: i32 = 100;
    let planes = Planes::new().await;
    let urls: Vec<String> = planes.sims.iter().map(Sim::url).collect();
    let mut client = manage(&planes.listen).await;
    let load = Load::start(&planes.url);
    let (began, mut swaps) = (Instant::now(), 0);
    while began.elapsed() < LASTING || swaps < SWAPS_MIN {
        assert!(began.elapsed() < PATIENCE, "{swaps} swaps");
        let number = usize::from(swaps % 2 == 0);
        let backend = Some(backend(number, &urls[number], swaps % 3));
        client
            .update_backend(v1::UpdateBackendRequest { backend, ..Default::default() })
            .await
            .expect("changed");
        swaps += 1;
    }
    planes.settled().await;
    let served = load.end().await;
    println!("{served} requests served, {swaps} swaps in {:?}", began.elapsed());
}

/// A connection that is being made is given up with its client, and its slot is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_while_their_server_is_being_connected() {
    const ROUNDS: u64 = 60;
    let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = hanging.local_addr().expect("bound").port();
    let row = rig::backend(
        "hangs",
        &format!("https://127.0.0.1:{port}"),
        v1::Kind::Vllm,
        1,
        &["m"],
        &[Dialect::OpenaiChat],
    );
    let plane = Plane::start(&rig::snapshot(vec![row]), |_| {}).await;
    let addr = plane.url.trim_start_matches("http://").to_owned();
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let request = post("/v1/chat/completions", "", &body.to_string());
    let (mut chance, mut told) = (Chance(0x5708), Vec::new());
    for _ in 0..ROUNDS {
        let mut client = TcpStream::connect(&addr).await.expect("the data plane listens");
        client.write_all(&request).await.expect("it reads");
        let accepted = tokio::time::timeout(PATIENCE, hanging.accept()).await;
        let (mut server, _) = accepted.expect("it is connected to: its one slot is free").expect("accepted");
        let moment = Duration::from_micros(chance.below(5000));
        let _ = tokio::time::timeout(moment, message(&mut client, &mut Vec::new())).await;
        let left_us = now_us();
        drop(client);
        let mut greeting = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, server.read_to_end(&mut greeting)).await;
        assert!(ended.is_ok(), "the connection outlives its client");
        told.push(now_us() - left_us);
    }
    told.sort_unstable();
    println!("told after {} µs (p50), at most {} µs", told[told.len() / 2], told[told.len() - 1]);
    let began = Instant::now();
    loop {
        let view = plane.view().await;
        if view["backends"][0]["busy"] == 0 && view["waiting"] == 0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{view}");
    }
    plane.stop().await;
}
