//! Servers that go and come back: who waits for them starts without a new arrival.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use llmsim::{Fault, Kind, Settings, Sim};
use proto::v1::{self, Dialect, management_client::ManagementClient};
use serde_json::{Value, json};
use tests::{
    process::{Process, field},
    rig::{self, DEADLINE, Plane},
};
use tokio::task::JoinHandle;

const PROBE_INTERVAL: Duration = Duration::from_millis(500);

fn sim() -> Sim {
    let settings = Settings {
        kind: Kind::Openai,
        models: vec!["m".to_owned()],
        slots: 1,
        prefill_tps: 0.0,
        decode_tps: 500.0,
        output_tokens: 4,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

/// Asks in the background; status, backend and body.
fn asked(url: &str, stream: bool) -> JoinHandle<(u16, String, String)> {
    let url = format!("{url}/v1/chat/completions");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream});
    tokio::spawn(async move {
        let response = rig::client().post(url).json(&body).send().await.expect("an answer");
        let backend = response.headers().get("x-llmb-backend").and_then(|name| name.to_str().ok());
        let backend = backend.unwrap_or_default().to_owned();
        (response.status().as_u16(), backend, response.text().await.expect("a body"))
    })
}

async fn view(admin: &str) -> Value {
    let answer = rig::client().get(format!("{admin}/view")).send().await.expect("the admin listener answers");
    answer.json().await.expect("the view is JSON")
}

/// Looks again and again until it is so.
async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    let began = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while !so().await {
        assert!(began.elapsed() < DEADLINE, "{what} does not come");
        pace.tick().await;
    }
}

async fn alone(sim: &Sim) -> Plane {
    let row = rig::backend("box", &sim.url(), v1::Kind::Openai, 1, &["m"], &[Dialect::OpenaiChat]);
    Plane::start(&rig::snapshot(vec![row]), |_| {}).await
}

/// No control plane tells it: the trial of the breaker finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_loses_no_request() {
    let sim = sim();
    let plane = alone(&sim).await;
    sim.set_fault(Fault::Refuse, None);
    let waiting: Vec<_> = [true, false, true].map(|stream| asked(&plane.url, stream)).into();
    until("the breaker opening before all of them", async || {
        let view = plane.view().await;
        view["backends"][0]["breaker"] != "closed" && view["waiting"] == 3
    })
    .await;
    sim.clear_fault();
    for answer in waiting {
        let (status, backend, text) = answer.await.expect("no panic");
        assert_eq!((status, backend.as_str()), (200, "box"), "{text}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stays_away_is_told_with_a_time_to_come_back() {
    let sim = sim();
    let plane = alone(&sim).await;
    sim.set_fault(Fault::Refuse, None);
    let began = Instant::now();
    let (status, backend, text) = asked(&plane.url, false).await.expect("no panic");
    assert_eq!((status, backend.as_str()), (502, "box"));
    assert!(text.contains("backend box cannot be reached"), "{text}");
    assert!(began.elapsed() > Duration::from_secs(5), "it was given up after {:?}", began.elapsed());
    plane.stop().await;
}

/// After the head went out with keep-alives, the refusal names the backend all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_behind_a_late_head_names_the_backend() {
    let row =
        |sim: &Sim| rig::backend("box", &sim.url(), v1::Kind::Openai, 1, &["m"], &[Dialect::OpenaiChat]);
    for (fault, said) in [
        (Fault::SlowStart(Duration::from_secs(3)), "total deadline of 1 s passed on backend box"),
        (Fault::Status { code: 503, retry_after: None }, "backend box failed: status 503"),
    ] {
        let sim = sim();
        let mut snapshot = rig::snapshot(vec![row(&sim)]);
        snapshot.routes.push(v1::Route {
            name: "m".to_owned(),
            r#match: Some(v1::route::Match::Exact("m".to_owned())),
            targets: vec![v1::Target { model: "m".to_owned(), backend: String::new(), weight: None }],
            deadlines: Some(v1::Deadlines { total: Some(proto::span(1000)), ..v1::Deadlines::default() }),
            ..v1::Route::default()
        });
        let plane =
            Plane::start(&snapshot, |settings| settings.stream_wait = Duration::from_millis(100)).await;
        // The one before it holds the only slot until the head is out.
        let before = match fault {
            Fault::Status { .. } => {
                sim.set_fault(Fault::SlowStart(Duration::from_millis(500)), Some(1));
                let before = asked(&plane.url, true);
                until("the first request", async || sim.stats().accepted == 1).await;
                Some(before)
            }
            _ => None,
        };
        sim.set_fault(fault, None);
        let (status, _, text) = asked(&plane.url, true).await.expect("no panic");
        assert_eq!(status, 200, "the head was sent before");
        assert!(text.starts_with(": "), "{text}");
        assert!(text.contains(said), "{said} is not in {text}");
        if let Some(before) = before {
            assert_eq!(before.await.expect("no panic").0, 200);
        }
        plane.stop().await;
    }
}

/// Both planes as processes, with one server.
struct Planes {
    _folder: tempfile::TempDir,
    _control: Process,
    _data: Process,
    url: String,
    admin: String,
    manage: ManagementClient<tonic::transport::Channel>,
}

/// A control plane and where it listens.
fn control(listen: &str, state: &str) -> (Process, String) {
    let every = format!("{}ms", PROBE_INTERVAL.as_millis());
    let args = ["--listen", listen, "--state-dir", state, "--probe-interval", &every];
    let control = Process::start("llmb-control", &args, &[]);
    let line = control.line("its address", |line| line.contains("control plane runs"));
    (control, field(&line, "addr"))
}

async fn add(control: &str, sim: &Sim) -> ManagementClient<tonic::transport::Channel> {
    let mut manage = ManagementClient::connect(format!("http://{control}")).await.expect("management");
    let backend =
        v1::Backend { name: "box".to_owned(), url: sim.url(), max_concurrency: 1, ..v1::Backend::default() };
    let request = v1::CreateBackendRequest { backend: Some(backend) };
    manage.create_backend(request).await.expect("the backend is added");
    manage
}

async fn planes(sim: &Sim) -> Planes {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state").display().to_string();
    let (control, addr) = control("127.0.0.1:0", &state);
    let control_url = format!("http://{addr}");
    let data = Process::start(
        "llmb-data",
        &[
            "--control",
            &control_url,
            "--state-dir",
            &state,
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ],
        &[],
    );
    let line = data.line("its address", |line| line.contains("data plane serves"));
    let (url, admin) =
        (format!("http://{}", field(&line, "listen")), format!("http://{}", field(&line, "admin")));
    let manage = add(&addr, sim).await;
    until("a healthy backend", async || view(&admin).await["backends"][0]["healthy"] == true).await;
    Planes { _folder: folder, _control: control, _data: data, url, admin, manage }
}

/// Lets the server go and come back while requests wait; how long after its return the first of them reached it.
async fn goes_and_comes_back(sim: &Sim, planes: &mut Planes) -> Duration {
    sim.set_fault(Fault::Refuse, None);
    let waiting: Vec<_> = [true, false].map(|stream| asked(&planes.url, stream)).into();
    until("the probes' verdict", async || {
        let view = view(&planes.admin).await;
        view["backends"][0]["healthy"] == false && view["waiting"] == 2
    })
    .await;
    let status = planes.manage.status(v1::StatusRequest {}).await.expect("a status").into_inner();
    let why = &status.backends[0].status.as_ref().expect("observed").reason;
    assert!(!why.is_empty(), "status says why the probes hold it out");
    let returned_us = llmsim::now_us();
    sim.clear_fault();
    for answer in waiting {
        let (status, backend, text) = answer.await.expect("no panic");
        assert_eq!((status, backend.as_str()), (200, "box"), "{text}");
    }
    let starts_us = sim.stats().requests.into_iter().map(|seen| seen.start_us);
    let first_us =
        starts_us.filter(|start_us| *start_us >= returned_us).min().expect("both were served there");
    Duration::from_micros(first_us - returned_us)
}

/// Nobody is lost however busy the machine is; a stall of the machine may break the promise of time, but not each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_starts_within_a_probe_interval_of_the_return() {
    let sim = sim();
    let mut planes = planes(&sim).await;
    let mut took = Vec::new();
    for _ in 0..3 {
        took.push(goes_and_comes_back(&sim, &mut planes).await);
        if took.last().is_some_and(|took| *took <= PROBE_INTERVAL + Duration::from_secs(1)) {
            return;
        }
    }
    panic!("it took {took:?}");
}

/// Who said that the server is down is gone when it comes back: requests find out, those that wait and those that come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_verdict_does_not_outlive_its_control_plane() {
    let sim = sim();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state").display().to_string();
    let (process, addr) = control("127.0.0.1:0", &state);
    let doubt_after = |settings: &mut dataplane::app::Settings| settings.doubt_after = PROBE_INTERVAL;
    let plane = Plane::follow(&format!("http://{addr}"), doubt_after).await;
    drop(add(&addr, &sim).await);
    let healthy = async |so: Value| plane.view().await["backends"][0]["healthy"] == so;
    until("a healthy backend", || healthy(json!(true))).await;
    sim.set_fault(Fault::Refuse, None);
    let waiting: Vec<_> = [true, false].map(|stream| asked(&plane.url, stream)).into();
    until("the verdict", async || healthy(json!(false)).await && plane.view().await["waiting"] == 2).await;
    process.kill();
    sim.clear_fault();
    for answer in waiting {
        let (status, backend, text) = answer.await.expect("no panic");
        assert_eq!((status, backend.as_str()), (200, "box"), "{text}");
    }
    assert!(healthy(Value::Null).await, "nobody has said that it is well");
    assert_eq!(asked(&plane.url, false).await.expect("no panic").0, 200);
    let _back = control(&addr, &state);
    until("its word again", || healthy(json!(true))).await;
    plane.stop().await;
}
