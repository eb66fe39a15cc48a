//! Both planes as processes: the control plane dies and comes back, its store is wiped or set back, a data plane
//! starts without it.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use llmsim::{Kind, Settings, Sim};
use proto::v1::{self, management_client::ManagementClient};
use serde_json::json;
use tests::{
    process::{Process, field},
    rig::{self, DEADLINE},
};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// Between two looks at something that comes by itself.
const PACE: Duration = Duration::from_millis(10);
/// A probe that comes late on a busy machine is answered all the same.
const PROBE_TIMEOUT: &str = "60s";

struct Planes {
    folder: tempfile::TempDir,
    /// Of the control plane, the same after each start.
    listen: String,
    control: Option<Process>,
    data: Option<Process>,
    url: String,
}

impl Planes {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listen = "127.0.0.1:0".to_owned();
        let mut planes = Self { folder, listen, control: None, data: None, url: String::new() };
        planes.start_control();
        planes.start_data();
        planes
    }

    fn store(&self) -> String {
        self.folder.path().join("control").display().to_string()
    }

    fn start_control(&mut self) {
        let store = self.store();
        let places = ["--listen", &self.listen, "--state-dir", &store];
        let paces = ["--probe-interval", "1s", "--probe-timeout", PROBE_TIMEOUT];
        let control = Process::start("llmb-control", &[places, paces].concat(), &[]);
        // Nobody knocks before it listens: a port that nobody holds may answer with the knocking socket itself.
        let line = control.line("its address", |line| line.contains("control plane runs"));
        self.listen = field(&line, "addr");
        self.control = Some(control);
    }

    fn start_data(&mut self) {
        self.start_data_in("d");
    }

    fn start_data_in(&mut self, folder: &str) {
        self.start_data_as(folder, &[]);
    }

    fn start_data_as(&mut self, folder: &str, env: &[(&str, &str)]) {
        let (control, state) =
            (format!("http://{}", self.listen), self.folder.path().join(folder).display().to_string());
        let args = ["--control", &control, "--state-dir", &state, "--listen", "127.0.0.1:0"];
        let data =
            Process::start("llmb-data", &[&args[..], &["--admin-listen", "127.0.0.1:0"]].concat(), env);
        let line = data.line("its address", |line| line.contains("data plane serves"));
        self.url = format!("http://{}", field(&line, "listen"));
        self.data = Some(data);
    }

    fn kill_control(&mut self) {
        self.control.take().expect("it runs").kill();
    }

    fn restart_data(&mut self) {
        self.data.take().expect("it runs").kill();
        self.start_data();
    }

    async fn manage(&self) -> ManagementClient<Channel> {
        ManagementClient::connect(format!("http://{}", self.listen)).await.expect("it listens")
    }

    /// Looks at the status until `right` finds something in it.
    async fn status<T>(&self, what: &str, right: impl Fn(v1::StatusResponse) -> Option<T>) -> T {
        let mut manage = self.manage().await;
        let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
        loop {
            let status = manage.status(v1::StatusRequest {}).await.expect("a status").into_inner();
            match right(status.clone()) {
                Some(found) => return found,
                None => assert!(began.elapsed() < DEADLINE, "no {what}: {status:#?}\n{}", self.said()),
            }
            pace.tick().await;
        }
    }

    async fn add(&self, name: &str, sim: &Sim) {
        let backend = v1::Backend { name: name.to_owned(), url: sim.url(), ..v1::Backend::default() };
        let request = v1::CreateBackendRequest { backend: Some(backend) };
        self.manage().await.create_backend(request).await.expect("the backend is added");
    }

    /// The one data plane, once `right` holds for it.
    async fn plane(&self, what: &str, right: impl Fn(&v1::DataPlane) -> bool) -> v1::DataPlane {
        self.status(what, |status| status.data_planes.into_iter().find(&right)).await
    }

    /// Waits until the data plane has answered for the newest snapshot, which it then holds on its disk.
    async fn settled(&self) {
        let acked = |status: v1::StatusResponse| {
            let newest = |plane: &v1::DataPlane| plane.acked.is_some() && plane.acked == status.version;
            status.data_planes.iter().any(newest).then_some(())
        };
        self.status("ack of the newest snapshot", acked).await;
    }

    async fn serves(&self, model: &str) {
        let client = rig::client();
        let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
        loop {
            pace.tick().await;
            let listed =
                client.get(format!("{}/v1/models", self.url)).send().await.expect("a list").text().await;
            if listed.expect("text").contains(&format!("\"{model}\"")) {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{model} is not served:\n{}", self.said());
        }
    }

    fn said(&self) -> String {
        let said = |process: &Option<Process>| process.as_ref().map(Process::said).unwrap_or_default();
        format!("{}\n---\n{}", said(&self.control), said(&self.data))
    }

    async fn ask(&self, model: &str) -> u16 {
        chat(&rig::client(), &self.url, model).await
    }
}

async fn chat(client: &reqwest::Client, url: &str, model: &str) -> u16 {
    let body = json!({"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]});
    let sent = client.post(format!("{url}/v1/chat/completions")).json(&body).send().await;
    sent.expect("an answer").status().as_u16()
}

fn sim(model: &str) -> Sim {
    llmsim::start(Settings {
        kind: Kind::Vllm,
        models: vec![model.to_owned()],
        slots: 16,
        decode_tps: 1000.0,
        prefill_tps: 0.0,
        ..Settings::default()
    })
    .expect("a simulated server starts")
}

/// Requests without a pause until it is stopped; gives how many were served and how many were not.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    task: JoinHandle<u64>,
}

impl Load {
    fn start(url: &str) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, url) = (stop.clone(), served.clone(), url.to_owned());
        let task = tokio::spawn(async move {
            let (client, mut failed) = (rig::client(), 0);
            while !stopped.load(Ordering::Relaxed) {
                if chat(&client, &url, "m").await == 200 {
                    counted.fetch_add(1, Ordering::Relaxed);
                } else {
                    failed += 1;
                }
            }
            failed
        });
        Self { stop, served, task }
    }

    async fn more(&self, requests: u64) {
        let (began, before) = (Instant::now(), self.served.load(Ordering::Relaxed));
        let mut pace = tokio::time::interval(PACE);
        while self.served.load(Ordering::Relaxed) < before + requests {
            assert!(began.elapsed() < DEADLINE, "requests are not served");
            pace.tick().await;
        }
    }

    async fn failed(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_dies_and_comes_back() {
    let (m, late) = (sim("m"), sim("late"));
    let mut planes = Planes::new();
    planes.add("one", &m).await;
    planes.serves("m").await;
    let before = planes.plane("an ack", |plane| plane.connected && plane.acked.is_some()).await;
    assert!(before.lead);
    let load = Load::start(&planes.url);
    load.more(20).await;
    planes.kill_control();
    load.more(50).await;
    planes.start_control();
    let epoch = before.acked.as_ref().expect("acknowledged").epoch;
    let newer = |plane: &v1::DataPlane| plane.acked.as_ref().is_some_and(|acked| acked.epoch > epoch);
    let after = planes.plane("a newer epoch", |plane| plane.connected && newer(plane)).await;
    assert_eq!(after.acked.expect("acknowledged").lineage, before.acked.expect("acknowledged").lineage);
    planes.add("two", &late).await;
    planes.serves("late").await;
    assert_eq!(planes.ask("late").await, 200);
    assert_eq!(load.failed().await, 0, "{}", planes.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_plane_starts_without_the_control_plane() {
    let m = sim("m");
    let mut planes = Planes::new();
    planes.add("one", &m).await;
    planes.serves("m").await;
    planes.settled().await;
    planes.kill_control();
    planes.restart_data();
    planes.serves("m").await;
    assert_eq!(planes.ask("m").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_store_cannot_move_it_backwards() {
    let m = sim("m");
    let mut planes = Planes::new();
    planes.add("one", &m).await;
    planes.serves("m").await;
    planes.kill_control();
    fs::remove_dir_all(planes.store()).expect("the store is wiped");
    planes.start_control();
    let plane = planes.plane("a fault", |plane| !plane.faults.is_empty()).await;
    assert!(plane.faults.iter().any(|fault| fault.contains("store")), "{:?}", plane.faults);
    assert_eq!(planes.ask("m").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_set_back_cannot_move_it_backwards() {
    let m = sim("m");
    let mut planes = Planes::new();
    planes.add("one", &m).await;
    planes.serves("m").await;
    planes.kill_control();
    let copy = planes.folder.path().join("copy");
    copy_folder(Path::new(&planes.store()), &copy);
    for _ in 0..2 {
        planes.start_control();
        let acked = |plane: &v1::DataPlane| {
            plane.connected && plane.acked.as_ref().is_some_and(|acked| acked.epoch > 1)
        };
        planes.plane("a newer epoch", acked).await;
        planes.kill_control();
    }
    fs::remove_dir_all(planes.store()).expect("removed");
    fs::rename(&copy, planes.store()).expect("set back");
    planes.start_control();
    let plane = planes.plane("a fault", |plane| !plane.faults.is_empty()).await;
    assert!(plane.faults.iter().any(|fault| fault.contains("old")), "{:?}", plane.faults);
    assert_eq!(planes.ask("m").await, 200);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// A second data plane serves as well; whatever it cannot start itself, the first does for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_data_plane_serves_beside_the_first() {
    let m = sim("m");
    let mut planes = Planes::new();
    planes.add("one", &m).await;
    planes.serves("m").await;
    let first = planes.data.take();
    let owner = planes.url.clone();
    planes.start_data_in("second");
    planes.serves("m").await;
    assert_eq!(planes.ask("m").await, 200, "{}", planes.said());
    assert_eq!(chat(&rig::client(), &owner, "m").await, 200);
    let other = planes.plane("the second", |plane| plane.connected && !plane.lead).await;
    assert!(planes.url.ends_with(&other.serves));
    assert_eq!(m.stats().finished, 2);
    drop(first);
}

/// It gave its place to another, who leads now: what it kept does not make it lead again beside that one. It serves by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_took_leave_does_not_lead_again_by_what_it_kept() {
    let m = sim("m");
    let mut planes = Planes::new();
    planes.add("one", &m).await;
    planes.serves("m").await;
    let first = planes.data.take().expect("it runs");
    planes.start_data_in("second");
    planes.serves("m").await;
    let (second, second_url) = (planes.data.take(), planes.url.clone());
    assert_eq!(planes.ask("m").await, 200);
    assert!(first.terminate().success());
    let leads = |plane: &v1::DataPlane| plane.connected && plane.lead && plane.acked.is_some();
    let lead = planes.plane("the second to lead", leads).await;
    assert!(second_url.ends_with(&lead.serves));
    planes.settled().await;
    planes.kill_control();
    planes.start_data_as("d", &[("LLMB_QUEUE_WAIT", "1")]);
    planes.serves("m").await;
    assert_eq!(planes.ask("m").await, 200, "{}", planes.said());
    assert_eq!(chat(&rig::client(), &second_url, "m").await, 200);
    // With the other gone as well it has nothing to start by, and nobody to ask.
    drop(second);
    assert_eq!(planes.ask("m").await, 503, "{}", planes.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_plane_is_not_made_a_backend() {
    let m = sim("m");
    let planes = Planes::new();
    planes.add("one", &m).await;
    planes.serves("m").await;
    let backend = v1::Backend { url: planes.url.clone(), ..v1::Backend::default() };
    let probe = v1::ProbeBackendRequest { backend: Some(backend) };
    let found = planes.manage().await.probe_backend(probe).await.expect("a verdict").into_inner();
    let status = found.status.expect("a status");
    assert_ne!(status.health, v1::Health::Healthy as i32);
    assert!(status.reason.contains("LLM Balancer"), "{}", status.reason);
}

#[test]
fn a_second_process_on_the_same_folder_is_told_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().display().to_string();
    let args = ["--listen", "127.0.0.1:0", "--state-dir", &state];
    let first = Process::start("llmb-control", &args, &[]);
    let _ = first.line("its address", |line| line.contains("control plane runs"));
    let second = Process::start("llmb-control", &args, &[]);
    let line = second.line("an error", |line| line.contains("another control plane"));
    assert!(line.contains(&state), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_planes_end_on_sigterm() {
    let mut planes = Planes::new();
    planes.plane("the data plane", |plane| plane.connected).await;
    assert!(planes.data.take().expect("it runs").terminate().success());
    assert!(planes.control.take().expect("it runs").terminate().success());
}
