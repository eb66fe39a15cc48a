//! A long run with everything that goes wrong in daily life at once; afterwards nothing is left behind.
//!
//! `LLMB_SOAK_S` says how long, in seconds.

mod slow_parts;

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use llmsim::{Fault, Kind, Settings, Sim};
use proto::v1;
use serde_json::Value;
use slow_parts::{
    Chance, PATIENCE, once,
    planes::{address, control, data, manage},
    post,
    ways::WAYS,
};
use tests::{process::Process, rig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant as Moment, timeout_at},
};

const KIB: u64 = 1024;
const SEED: u64 = 0x50a1;
const CLIENTS: u64 = 12;
/// What goes wrong next, and the next snapshot.
const EVERY: Duration = Duration::from_millis(50);
/// A control plane lives so long.
const RESTART_EVERY: Duration = Duration::from_secs(8);
/// Of the memory after a quarter of the time.
const GROWTH_MAX: u64 = 10 * KIB * KIB;
/// For all to be quiet: a backend rests for a minute at most, a kept connection idles for less.
const QUIET_WITHIN: Duration = Duration::from_secs(150);

fn lasting() -> Duration {
    let given = std::env::var("LLMB_SOAK_S").ok();
    Duration::from_secs(given.map_or(60, |seconds| seconds.parse().expect("LLMB_SOAK_S is a number")))
}

struct Server {
    way: usize,
    kind: v1::Kind,
    sim: Sim,
}

/// Two of each dialect.
fn servers() -> Vec<Server> {
    let one = |way: usize| {
        let settings = Settings {
            kind: WAYS[way].kind,
            models: vec!["m".to_owned()],
            slots: 2,
            prefill_tps: 5000.0,
            decode_tps: 200.0,
            output_tokens: 100,
            ..Settings::default()
        };
        let kind = match settings.kind {
            Kind::Llamacpp => v1::Kind::Llamacpp,
            Kind::Vllm => v1::Kind::Vllm,
            Kind::Anthropic => v1::Kind::Anthropic,
            Kind::Gemini => v1::Kind::Gemini,
            _ => v1::Kind::Ollama,
        };
        Server { way, kind, sim: llmsim::start(settings).expect("a simulated server starts") }
    };
    (0..WAYS.len()).flat_map(|way| [one(way), one(way)]).collect()
}

fn fault(chance: &mut Chance) -> (Fault, Option<u32>) {
    let after = chance.below(20) as u32;
    let fault = match chance.below(14) {
        0 => return (Fault::Refuse, None),
        1 => Fault::ResetAtAccept,
        2 => Fault::DieMidStream { after },
        3 => Fault::Truncate { after },
        4 => Fault::Status { code: 429, retry_after: Some(1) },
        5 => Fault::BadJson,
        6 => Fault::ErrorFirst,
        7 => Fault::SlowStart(Duration::from_millis(chance.below(500))),
        8 => Fault::Html,
        9 => Fault::Redirect,
        10 => Fault::WrongLength,
        11 => Fault::StallMidStream { after },
        12 => Fault::Stall,
        _ => Fault::Status { code: 500, retry_after: None },
    };
    (fault, Some(1 + chance.below(3) as u32))
}

/// What clients met.
#[derive(Default)]
struct Met {
    over: AtomicBool,
    next: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
    left: AtomicU64,
}

impl Met {
    async fn client(self: Arc<Self>, addr: String) {
        while !self.over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let mut chance = Chance(SEED ^ (number << 20));
            let (way, stream) = (WAYS[chance.below(5) as usize], chance.below(2) == 0);
            let text = "word ".repeat(chance.below(400) as usize);
            let (path, body) = way.ask(&text, stream, 1 + chance.below(100) as u32);
            // A stalled server is left by its client, as patient as that is.
            let patience = Duration::from_millis(if chance.below(5) == 0 { chance.below(300) } else { 3000 });
            let end = Moment::now() + patience;
            let Ok(mut socket) = TcpStream::connect(&addr).await else { panic!("the data plane listens") };
            socket
                .write_all(&post(path, "connection: close\r\n", &body.to_string()))
                .await
                .expect("it reads");
            let mut answer = Vec::new();
            let counter = match timeout_at(end, socket.read_to_end(&mut answer)).await {
                Err(_) => &self.left,
                Ok(Ok(_)) if answer.starts_with(b"HTTP/1.1 200") => &self.served,
                Ok(_) => &self.failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the data plane holds of the system.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory: u64,
    files: usize,
}

impl Held {
    fn by(process: &Process) -> Self {
        let folder = format!("/proc/{}", process.id());
        let status = fs::read_to_string(format!("{folder}/status")).expect("it runs");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("every process has it");
            line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("a number")
        };
        let files = fs::read_dir(format!("{folder}/fd")).expect("its files").count();
        Self { memory: number("VmRSS:") * KIB, files }
    }
}

async fn view(admin: &str) -> Value {
    let answer =
        rig::client().get(format!("http://{admin}/view")).send().await.expect("the admin listener answers");
    answer.json().await.expect("JSON")
}

fn quiet(view: &Value) -> bool {
    let rows = view["backends"].as_array().expect("rows");
    view["waiting"] == 0 && rows.iter().all(|row| row["busy"] == 0 && row["cooling"] == 0)
}

async fn until(what: &str, mut right: impl AsyncFnMut() -> Result<(), String>) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(EVERY);
    while let Err(how) = right().await {
        assert!(began.elapsed() < QUIET_WITHIN, "{what}: {how}");
        tick.tick().await;
    }
}

/// Every dialect is answered.
async fn serves(addr: &str) {
    for way in WAYS {
        let (path, body) = way.ask("hi", false, 1);
        until("every dialect is served", async || {
            let answer = once(addr, path, &body.to_string()).await.expect("an answer");
            answer.starts_with("HTTP/1.1 200").then_some(()).ok_or(answer)
        })
        .await;
    }
}

/// All that goes wrong, until it is over; gives what the data plane held after a quarter of the time.
async fn trouble(
    servers: &[Server],
    plane: &Process,
    listen: &str,
    state: &std::path::Path,
) -> (Held, BTreeMap<&'static str, u64>) {
    let mut running = Some(control(listen, state).0);
    let mut client = manage(listen).await;
    let (began, lasting) = (Instant::now(), lasting());
    let (mut early, mut born, mut did) = (None, Instant::now(), BTreeMap::new());
    let mut chance = Chance(SEED);
    let mut tick = tokio::time::interval(EVERY);
    while began.elapsed() < lasting {
        tick.tick().await;
        let number = chance.below(servers.len() as u64) as usize;
        let server = &servers[number];
        if chance.below(12) == 0 {
            let (fault, times) = fault(&mut chance);
            server.sim.set_fault(fault, times);
            *did.entry("faults").or_insert(0) += 1;
        } else {
            server.sim.clear_fault();
        }
        let backend = Some(backend(number, server, chance.below(5) as i32));
        // It may have been killed just now.
        if client.update_backend(v1::UpdateBackendRequest { backend, ..Default::default() }).await.is_ok() {
            *did.entry("changes").or_insert(0) += 1;
        }
        if born.elapsed() > RESTART_EVERY {
            running.take().expect("it runs").kill();
            running = Some(control(listen, state).0);
            client = manage(listen).await;
            born = Instant::now();
            *did.entry("restarts").or_insert(0) += 1;
        }
        if early.is_none() && began.elapsed() > lasting / 4 {
            early = Some(Held::by(plane));
        }
    }
    (early.expect("a quarter of the time is over"), did)
}

fn backend(number: usize, server: &Server, priority: i32) -> v1::Backend {
    v1::Backend {
        name: format!("b{number}"),
        url: server.sim.url(),
        kind: server.kind as i32,
        max_concurrency: 2,
        dialects: vec![WAYS[server.way].dialect as i32],
        priority,
        ..v1::Backend::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_with_faults_leaves_nothing_behind() {
    let (servers, folder, listen) = (servers(), tempfile::tempdir().expect("a temporary folder"), address());
    let state = folder.path().join("control");
    let first = control(&listen, &state).0;
    let mut client = manage(&listen).await;
    for (number, server) in servers.iter().enumerate() {
        let backend = Some(backend(number, server, 0));
        client.create_backend(v1::CreateBackendRequest { backend }).await.expect("added");
    }
    let (plane, addr, admin) = data(&listen, &folder.path().join("data"));
    until("it follows", async || view(&admin).await["backends"].get(9).map(drop).ok_or_else(String::new))
        .await;
    let before = Held::by(&plane);
    serves(&addr).await;
    first.kill();
    let met = Arc::new(Met::default());
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(met.clone().client(addr.clone()))).collect();
    let (early, did) = trouble(&servers, &plane, &listen, &state).await;
    met.over.store(true, Ordering::Relaxed);
    for client in join_all(clients).await {
        client.expect("no panic");
    }
    let late = Held::by(&plane);
    servers.iter().for_each(|server| server.sim.clear_fault());
    let _control = control(&listen, &state).0;
    for server in &servers {
        assert!(server.sim.wait(|stats| stats.running == 0, PATIENCE).await, "{:?}", server.sim.stats());
    }
    until("all slots are free", async || {
        let view = view(&admin).await;
        quiet(&view).then_some(()).ok_or_else(|| view.to_string())
    })
    .await;
    serves(&addr).await;
    until("connections and files are closed", async || {
        let held = Held::by(&plane);
        (held.files <= before.files).then_some(()).ok_or_else(|| format!("{held:?}, {before:?} before"))
    })
    .await;
    let after = Held::by(&plane);
    println!("{:?}, {did:?}: {met_of}", lasting(), met_of = told(&met));
    println!("before {before:?}\nearly {early:?}\nlate {late:?}\nafter {after:?}");
    assert!(met.served.load(Ordering::Relaxed) > met.failed.load(Ordering::Relaxed), "most are served");
    assert!(
        late.memory <= early.memory + GROWTH_MAX && after.memory <= early.memory + GROWTH_MAX,
        "memory grows"
    );
    assert!(plane.terminate().success());
}

fn told(met: &Met) -> String {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    format!("{} served, {} failed, {} left", count(&met.served), count(&met.failed), count(&met.left))
}
