//! Processes that are killed and connections that are closed: no client sees it, and nothing acknowledged is lost.

mod slow_parts;

use std::{
    collections::BTreeMap,
    io,
    net::TcpListener as Reserved,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use llmsim::{Kind, Settings, Sim, now_us};
use proto::v1::{self, Dialect, management_client::ManagementClient};
use serde_json::json;
use slow_parts::{
    COMPLETION, Chance, PATIENCE,
    load::{Load, ask},
    message, ok, post,
};
use tests::{
    process::{Process, field},
    rig::{self, Plane},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tonic::transport::Channel;

type Manage = ManagementClient<Channel>;

async fn manage(addr: &str) -> Manage {
    let began = Instant::now();
    loop {
        match ManagementClient::connect(format!("http://{addr}")).await {
            Ok(client) => return client,
            Err(error) => assert!(began.elapsed() < PATIENCE, "no management: {error}"),
        }
        tokio::task::yield_now().await;
    }
}

fn control(listen: &str, state: &Path) -> (Process, String) {
    let state = state.display().to_string();
    let args = ["--listen", listen, "--state-dir", &state, "--probe-interval", "1s"];
    let process = Process::start("llmb-control", &args, &[]);
    let line = process.line("its address", |line| line.contains("control plane runs"));
    (process, field(&line, "addr"))
}

/// A backend all of whose fields say `state`, so that a half of it would show.
fn row(name: &str, state: u32) -> v1::Backend {
    v1::Backend {
        name: name.to_owned(),
        url: format!("http://127.0.0.1:9/{name}/state{state}"),
        max_concurrency: state + 1,
        priority: i32::try_from(state).expect("a small number"),
        max_input_tokens: 100 * state + 1,
        // It is never asked for anything.
        draining: true,
        ..v1::Backend::default()
    }
}

fn whole(found: &v1::Backend) -> bool {
    let state = u32::try_from(found.priority).unwrap_or_default();
    let right = row(&found.name, state);
    found.url == right.url
        && found.max_concurrency == right.max_concurrency
        && found.max_input_tokens == right.max_input_tokens
        && found.draining
}

/// What was acknowledged last of a name: its revision and its state.
type Acknowledged = BTreeMap<String, (u64, u32)>;

/// Creates and changes one backend after another until the control plane is gone; says what was acknowledged.
async fn write(mut client: Manage, prefix: String, told: mpsc::Sender<(String, u64, u32)>) {
    const CHANGES: u32 = 4;
    for number in 0..1000 {
        let name = format!("{prefix}-{number}");
        for state in 0..CHANGES {
            let backend = Some(row(&name, state));
            let answer = match state {
                0 => client.create_backend(v1::CreateBackendRequest { backend }).await,
                _ => client.update_backend(v1::UpdateBackendRequest { backend, ..Default::default() }).await,
            };
            let Ok(answer) = answer else { return };
            if told.send((name.clone(), answer.into_inner().revision, state)).await.is_err() {
                return;
            }
        }
    }
}

/// All that was acknowledged is there, as it was written; what was not is there wholly or not at all.
async fn check(client: &mut Manage, acknowledged: &Acknowledged) {
    let listed = client.list_backends(v1::ListBackendsRequest::default()).await.expect("a list").into_inner();
    let mut there = BTreeMap::new();
    for backend in listed.backends {
        assert!(whole(&backend), "half of a write: {backend:?}");
        there.insert(backend.name.clone(), backend);
    }
    for (name, (revision, state)) in acknowledged {
        let found = there.get(name).unwrap_or_else(|| panic!("{name} was acknowledged and is gone"));
        let now = u32::try_from(found.priority).expect("as written");
        // The next change may have been written when the kill came before its answer.
        let same = found.revision == *revision && now == *state;
        let next = found.revision > *revision && now == state + 1;
        assert!(same || next, "{name} was acknowledged at {revision} with state {state}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_acknowledged_writes_survive_fifty_kills() {
    const ROUNDS: usize = 50;
    const WRITES: usize = 20;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut acknowledged = Acknowledged::new();
    let mut writes = 0;
    for round in 0..ROUNDS {
        let (process, addr) = control("127.0.0.1:0", folder.path());
        let mut client = manage(&addr).await;
        check(&mut client, &acknowledged).await;
        let (told, mut answers) = mpsc::channel(64);
        for writer in 0..4 {
            tokio::spawn(write(client.clone(), format!("r{round}-{writer}"), told.clone()));
        }
        drop(told);
        let mut process = Some(process);
        let mut seen = 0;
        while let Some((name, revision, state)) = timeout(PATIENCE, answers.recv()).await.expect("an answer")
        {
            acknowledged.insert(name, (revision, state));
            seen += 1;
            if seen == WRITES {
                process.take().expect("it runs").kill();
            }
        }
        assert!(seen >= WRITES, "{seen} writes in round {round}");
        writes += seen;
    }
    let (_process, addr) = control("127.0.0.1:0", folder.path());
    check(&mut manage(&addr).await, &acknowledged).await;
    println!("{writes} acknowledged writes on {} backends, {ROUNDS} kills", acknowledged.len());
}

/// An address to come back to: below the ports that systems give to outgoing connections, so that none takes it while
/// its owner is down.
fn address() -> String {
    let first = 20_000 + std::process::id() % 8000;
    let free = (first..first + 2000).map(|port| format!("127.0.0.1:{port}"));
    free.into_iter().find(|addr| Reserved::bind(addr).is_ok()).expect("a free port")
}

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

/// A server that closes connections as llama.cpp does: the hundredth answer is the last one, and an idle connection is
/// closed without a word; here at once and by chance, so that a request is often on its way already.
struct Closing {
    asked: AtomicU64,
    connections: AtomicU64,
    chance: Mutex<Chance>,
}

impl Closing {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> io::Result<()> {
        const REQUESTS_MAX: u32 = 100;
        stream.set_nodelay(true)?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (mut buffer, mut number) = (Vec::new(), 0);
        while message(&mut stream, &mut buffer).await?.is_some() {
            number += 1;
            self.asked.fetch_add(1, Ordering::Relaxed);
            if number == REQUESTS_MAX {
                return stream.write_all(&ok("connection: close\r\n", COMPLETION)).await;
            }
            stream.write_all(&ok("keep-alive: timeout=5, max=100\r\n", COMPLETION)).await?;
            if self.chance.lock().expect("whole").below(12) == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closes_cost_no_request() {
    const REQUESTS: usize = 2000;
    const CLIENTS: usize = 4;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let closing = Arc::new(Closing {
        asked: AtomicU64::new(0),
        connections: AtomicU64::new(0),
        chance: Mutex::new(Chance(0x11a3)),
    });
    let server = closing.clone();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(server.clone().serve(stream));
        }
    });
    let row = rig::backend("llama", &url, v1::Kind::Llamacpp, CLIENTS as u32, &["m"], &[Dialect::OpenaiChat]);
    let plane = Plane::start(&rig::snapshot(vec![row]), |_| {}).await;
    let addr = plane.url.trim_start_matches("http://").to_owned();
    let clients = (0..CLIENTS).map(|_| {
        let addr = addr.clone();
        tokio::spawn(async move {
            let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
            let request = post("/v1/chat/completions", "", &body);
            let mut stream = TcpStream::connect(&addr).await.expect("it listens");
            let mut buffer = Vec::new();
            for number in 0..REQUESTS / CLIENTS {
                stream.write_all(&request).await.expect("it reads");
                let answer = timeout(PATIENCE, message(&mut stream, &mut buffer)).await.expect("in time");
                let (head, body) = answer.expect("a whole answer").expect("an answer");
                let body = String::from_utf8_lossy(&body);
                assert!(head.starts_with("http/1.1 200") && body.contains("yes"), "{number}: {head}{body}");
            }
        })
    });
    for client in join_all(clients).await {
        client.expect("no panic");
    }
    let (asked, connections) =
        (closing.asked.load(Ordering::Relaxed), closing.connections.load(Ordering::Relaxed));
    println!("{asked} requests on {connections} connections");
    assert_eq!(asked, REQUESTS as u64, "each was read once");
    assert!(connections < asked / 2, "connections are kept");
    plane.stop().await;
    server.abort();
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
