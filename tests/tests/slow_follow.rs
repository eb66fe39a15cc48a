//! What it costs the control plane to be followed: a hundred data planes, a thousand backends, its processor time by the
//! system's own account and the bytes that each follower gets. The binary that is shipped is measured, in the folder that
//! `LLMB_SHIPPED` names.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use proto::v1::{
    self, FollowUp, follow_client::FollowClient, follow_down, follow_up, management_client::ManagementClient,
};
use tests::{
    process::{Process, field},
    rig::any_port,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Data planes that follow.
const FOLLOWERS: usize = 100;
/// Backends of the large fleet, and of the small one beside it.
const MANY: usize = 1000;
const FEW: usize = 10;
/// Changes of one backend each, in one measurement.
const CHANGES: usize = 40;
/// Measurements of each, of which the best counts.
const ROUNDS: usize = 3;
/// What a test waits for anything at most.
const PATIENCE: Duration = Duration::from_secs(120);

/// What all followers have seen.
#[derive(Default)]
struct Seen {
    /// When each version came to each of them.
    came: Mutex<BTreeMap<(u64, usize), Instant>>,
    deltas: AtomicU64,
    wholes: AtomicU64,
    delta_bytes: AtomicU64,
    flips: AtomicU64,
}

/// A hundred data planes that apply what they get and acknowledge it.
struct Fleet {
    seen: Arc<Seen>,
    /// The version that each of them is at.
    at: Vec<watch::Receiver<u64>>,
    _tasks: JoinSet<()>,
}

impl Fleet {
    async fn follow(addr: &str) -> Self {
        let (seen, mut tasks) = (Arc::new(Seen::default()), JoinSet::new());
        let mut at = Vec::new();
        for n in 0..FOLLOWERS {
            let (told, version) = watch::channel(0);
            at.push(version);
            tasks.spawn(follow(addr.to_owned(), n, Arc::clone(&seen), told));
        }
        Fleet { seen, at, _tasks: tasks }
    }

    /// Waits until all have `seq`.
    async fn have(&mut self, seq: u64) {
        for version in &mut self.at {
            let there = timeout(PATIENCE, version.wait_for(|at| *at >= seq)).await;
            there.expect("in time").expect("it follows");
        }
    }
}

async fn follow(addr: String, n: usize, seen: Arc<Seen>, told: watch::Sender<u64>) {
    let channel =
        Channel::from_shared(format!("http://{addr}")).expect("a URL").connect().await.expect("it listens");
    let (up, messages) = mpsc::channel(64);
    let hello = v1::Hello {
        plane_id: format!("p{n}"),
        incarnation: 1,
        process: format!("p{n}"),
        locked: true,
        ..v1::Hello::default()
    };
    up.send(FollowUp { message: Some(follow_up::Message::Hello(hello)) }).await.expect("room");
    let mut client = FollowClient::new(channel).max_decoding_message_size(64 << 20);
    let mut down = client.follow(ReceiverStream::new(messages)).await.expect("it may follow").into_inner();
    let mut has = v1::Snapshot::default();
    while let Ok(Some(message)) = down.message().await {
        match message.message {
            Some(follow_down::Message::Snapshot(whole)) => {
                seen.wholes.fetch_add(1, Ordering::Relaxed);
                has = whole;
            }
            Some(follow_down::Message::Delta(delta)) => {
                seen.deltas.fetch_add(1, Ordering::Relaxed);
                seen.delta_bytes.fetch_add(delta.encoded_len() as u64, Ordering::Relaxed);
                seen.flips.fetch_add(delta.health.len() as u64, Ordering::Relaxed);
                // A copy of a thousand backends for each of a hundred would be the test's own work, not the follower's.
                assert_eq!(has.version, delta.base);
                has.version = delta.version;
            }
            _ => continue,
        }
        let seq = has.version.as_ref().map_or(0, |version| version.seq);
        seen.came.lock().expect("whole").insert((seq, n), Instant::now());
        let ack = v1::Ack { version: has.version.clone(), unkept: false };
        if up.send(FollowUp { message: Some(follow_up::Message::Ack(ack)) }).await.is_err() {
            return;
        }
        told.send_replace(seq);
    }
}

/// Servers by path behind one address. Of those below `cycling` each fails two probes of three while `flip` is set.
struct Servers {
    url: String,
    flip: Arc<AtomicBool>,
    probes: Arc<AtomicU64>,
}

impl Servers {
    async fn start(cycling: usize) -> Self {
        let listener = TcpListener::bind(any_port()).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (flip, probes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let turns: Arc<Vec<AtomicU64>> = Arc::new((0..MANY).map(|_| AtomicU64::new(0)).collect());
        let (flips, counted) = (Arc::clone(&flip), Arc::clone(&probes));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (flip, probes, turns) = (Arc::clone(&flips), Arc::clone(&counted), Arc::clone(&turns));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let path = request.uri().path().to_owned();
                    let n: usize =
                        path.trim_start_matches("/b").split('/').next().unwrap_or("").parse().unwrap_or(MANY);
                    let models = path.ends_with("/v1/models");
                    let mut bad = false;
                    if models {
                        probes.fetch_add(1, Ordering::Relaxed);
                        let turn = turns.get(n).map_or(0, |turn| turn.fetch_add(1, Ordering::Relaxed));
                        bad = flip.load(Ordering::Relaxed) && n < cycling && turn % 3 < 2;
                    }
                    let (status, body) = match (models, path.ends_with("/chat/completions")) {
                        (true, _) if bad => (500, "{}"),
                        (true, _) => (200, r#"{"object":"list","data":[{"id":"m"}]}"#),
                        (_, true) => (400, r#"{"error":{"message":"m","type":"invalid_request_error"}}"#),
                        _ => (404, "{}"),
                    };
                    let answer =
                        Response::builder().status(status).header("content-type", "application/json");
                    let answer =
                        answer.body(Full::new(Bytes::from_static(body.as_bytes()))).expect("an answer");
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        Servers { url, flip, probes }
    }

    fn backend(&self, n: usize, slots: u32) -> v1::Backend {
        let mut backend = v1::Backend {
            name: format!("b{n:04}"),
            url: format!("{}/b{n}", self.url),
            max_concurrency: slots,
            ..v1::Backend::default()
        };
        backend.set_kind(v1::Kind::Openai);
        backend
    }
}

struct Control {
    process: Process,
    addr: String,
    manage: ManagementClient<Channel>,
    _folder: tempfile::TempDir,
}

impl Control {
    /// With `backends` of `servers`, all of them looked at.
    async fn start(servers: &Servers, backends: usize, probe_interval: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().display().to_string();
        let args = ["--listen", "127.0.0.1:0", "--state-dir", &state];
        let paces = ["--probe-interval", probe_interval, "--probe-timeout", "60s"];
        let folder_of = std::env::var("LLMB_SHIPPED").expect("not set: these tests are run by tests/run");
        // No line for each that follows.
        let log = [("LLMB_LOG", "error,controlplane::app=info")];
        let binary = Path::new(&folder_of).join("llmb-control");
        let process = Process::start_at(&binary, &[args, paces].concat(), &log);
        let line = process.line("its address", |line| line.contains("control plane runs"));
        let addr = field(&line, "addr");
        let manage = ManagementClient::connect(format!("http://{addr}")).await.expect("it listens");
        let mut control =
            Control { process, addr, manage: manage.max_decoding_message_size(64 << 20), _folder: folder };
        let backends: Vec<_> = (0..backends).map(|n| servers.backend(n, 2)).collect();
        let config = v1::Config { backends, ..v1::Config::default() };
        let apply = v1::ApplyRequest { config: Some(config), dry_run: false };
        control.manage.apply(apply).await.expect("applied");
        let began = Instant::now();
        loop {
            let status = control.status().await;
            let healthy = |backend: &v1::Backend| {
                backend.status.as_ref().is_some_and(|status| status.health() == v1::Health::Healthy)
            };
            if status.backends.iter().all(healthy) {
                return control;
            }
            assert!(began.elapsed() < PATIENCE, "not all backends are healthy");
            tokio::task::yield_now().await;
        }
    }

    async fn status(&mut self) -> v1::StatusResponse {
        self.manage.status(v1::StatusRequest {}).await.expect("a status").into_inner()
    }

    /// Waits until all are registered, one of them leads, and each has the newest version: each that registers is one.
    async fn settled(&mut self, fleet: &mut Fleet) {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            let planes = &status.data_planes;
            let settled =
                |plane: &v1::DataPlane| plane.connected && plane.registered && plane.acked.is_some();
            if planes.len() == FOLLOWERS
                && planes.iter().all(settled)
                && planes.iter().any(|plane| plane.lead)
            {
                let seq = status.version.map_or(0, |version| version.seq);
                return fleet.have(seq).await;
            }
            assert!(began.elapsed() < PATIENCE, "not all follow");
            tokio::task::yield_now().await;
        }
    }

    /// Nanoseconds on a processor, of all its threads.
    fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("it runs");
        let spent = |task: &Path| {
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().and_then(|spent| spent.parse::<u64>().ok()).unwrap_or(0)
        };
        tasks.map(|task| spent(&task.expect("an entry").path())).sum()
    }
}

/// What one change of one backend costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Of the delta, for each follower.
    bytes: f64,
    /// Of the control plane's processor time, with all followers served.
    cpu_us: f64,
    /// From the call to the slowest of 99 in 100 receipts.
    p99: Duration,
}

async fn changes(control: &mut Control, fleet: &mut Fleet, servers: &Servers) -> Cost {
    let seen = Arc::clone(&fleet.seen);
    let (bytes, deltas) = (seen.delta_bytes.load(Ordering::Relaxed), seen.deltas.load(Ordering::Relaxed));
    let (cpu, wholes) = (control.cpu_ns(), seen.wholes.load(Ordering::Relaxed));
    let mut seq = *fleet.at[0].borrow();
    let mut late = Vec::new();
    for change in 0..CHANGES {
        // Each is a change: every backend has its turn CHANGES / FEW times a round, an even number.
        let slots = 3 + (change / FEW % 2) as u32;
        let request = v1::UpdateBackendRequest {
            backend: Some(servers.backend(change % FEW, slots)),
            expected_revision: 0,
        };
        let began = Instant::now();
        let updated = control.manage.update_backend(request).await.expect("updated").into_inner();
        assert_eq!(updated.max_concurrency, slots);
        seq += 1;
        fleet.have(seq).await;
        let came = seen.came.lock().expect("whole");
        late.extend((0..FOLLOWERS).map(|n| came[&(seq, n)].saturating_duration_since(began)));
    }
    let cpu_us = (control.cpu_ns() - cpu) as f64 / 1e3 / CHANGES as f64;
    assert_eq!(seen.wholes.load(Ordering::Relaxed), wholes, "only deltas came");
    let (bytes, deltas) =
        (seen.delta_bytes.load(Ordering::Relaxed) - bytes, seen.deltas.load(Ordering::Relaxed) - deltas);
    assert_eq!(deltas as usize, CHANGES * FOLLOWERS);
    late.sort_unstable();
    Cost { bytes: bytes as f64 / deltas as f64, cpu_us, p99: late[late.len() * 99 / 100] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_one_backend_costs_the_same_however_many_there_are() {
    let servers = Servers::start(0).await;
    let mut fleets = Vec::new();
    for backends in [FEW, MANY] {
        let mut control = Control::start(&servers, backends, "60m").await;
        let mut fleet = Fleet::follow(&control.addr).await;
        control.settled(&mut fleet).await;
        fleets.push((backends, control, fleet));
    }
    let mut best: Vec<Option<Cost>> = vec![None, None];
    for round in 0..=ROUNDS {
        for (at, (backends, control, fleet)) in fleets.iter_mut().enumerate() {
            // The first round warms up.
            let cost = changes(control, fleet, &servers).await;
            println!(
                "{backends} backends, {FOLLOWERS} followers, round {round}: {:.1} bytes to each, {:.0} µs of processor \
                 time, p99 {:?}",
                cost.bytes, cost.cpu_us, cost.p99
            );
            let better = |kept: &Cost| Cost {
                bytes: cost.bytes.max(kept.bytes),
                cpu_us: cost.cpu_us.min(kept.cpu_us),
                p99: cost.p99.min(kept.p99),
            };
            if round > 0 {
                best[at] = Some(best[at].as_ref().map_or(cost, better));
            }
        }
    }
    let (few, many) = (best[0].expect("measured"), best[1].expect("measured"));
    println!(
        "best of {ROUNDS}: {FEW}: {few:?}, {MANY}: {many:?}, processor time {:.2} of it",
        many.cpu_us / few.cpu_us
    );
    assert!(many.bytes < few.bytes + 8.0, "bytes grow with the number of backends");
    assert!(many.cpu_us < few.cpu_us * 1.5, "processor time grows with the number of backends");
    assert!(many.p99 < Duration::from_millis(500), "a change takes too long");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_of_one_in_a_hundred_a_second_cost_next_to_nothing() {
    // A probe of each in 20 s, two flips in three probes of those that cycle: ten a second.
    const CYCLING: usize = 300;
    const SPAN: Duration = Duration::from_secs(30);
    let servers = Servers::start(CYCLING).await;
    let mut control = Control::start(&servers, MANY, "20s").await;
    let mut parts = Vec::new();
    for (what, followers, flips) in
        [("quiet", true, false), ("flips, nobody follows", false, true), ("flips", true, true)]
    {
        servers.flip.store(flips, Ordering::Relaxed);
        let fleet = if followers { Some(Fleet::follow(&control.addr).await) } else { None };
        if let Some(mut fleet) = fleet {
            control.settled(&mut fleet).await;
            parts.push((what, span(&control, &servers, Some(&fleet.seen), SPAN).await));
        } else {
            parts.push((what, span(&control, &servers, None, SPAN).await));
        }
    }
    for (what, (cpu, flips, probes)) in &parts {
        println!(
            "{what}: {:.2} % of a core, {flips:.1} flips a second told, {probes:.1} probes a second",
            cpu * 100.0
        );
    }
    let (quiet, flips) = (parts[0].1, parts[2].1);
    let cost = (flips.0 - quiet.0) * (MANY as f64 / 100.0) / flips.1;
    println!("flips of 1 % of {MANY} backends a second: {:.2} % of a core", cost * 100.0);
    assert!(flips.1 > 8.0, "too few flips to be measured");
    assert!(cost < 0.05, "flips cost too much");
}

/// The part of a core that is used over `span`, and flips and probes a second.
async fn span(
    control: &Control,
    servers: &Servers,
    seen: Option<&Arc<Seen>>,
    span: Duration,
) -> (f64, f64, f64) {
    let flips = || seen.map_or(0, |seen| seen.flips.load(Ordering::Relaxed) / FOLLOWERS as u64);
    let (cpu, probes, before, began) =
        (control.cpu_ns(), servers.probes.load(Ordering::Relaxed), flips(), Instant::now());
    let mut tick = tokio::time::interval(span);
    tick.tick().await;
    tick.tick().await;
    let spent = began.elapsed().as_secs_f64();
    let per_second = |count: u64| count as f64 / spent;
    let probes = servers.probes.load(Ordering::Relaxed) - probes;
    ((control.cpu_ns() - cpu) as f64 / 1e9 / spent, per_second(flips() - before), per_second(probes))
}
