//! A server with other clients beside us says how busy it is when it is probed, and the data plane hears of it.

use std::time::{Duration, Instant};

use controlplane::app as control;
use llmsim::{Kind, Settings};
use proto::v1::{self, management_client::ManagementClient};
use serde_json::json;
use tests::rig::{self, DEADLINE, Plane, any_port};

/// Between two looks at something that comes by itself.
const PACE: Duration = Duration::from_millis(10);

async fn others(plane: &Plane, wanted: u64) {
    let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
    loop {
        pace.tick().await;
        let view = plane.view().await;
        if view["backends"][0]["others"] == wanted {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{wanted} others are not seen: {view}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_of_others_is_heard_of() {
    for kind in [Kind::Vllm, Kind::Llamacpp] {
        let settings = Settings {
            kind,
            models: vec!["m".to_owned()],
            slots: 4,
            prefill_tps: 0.0,
            decode_tps: 50.0,
            output_tokens: 100_000,
            ..Settings::default()
        };
        let sim = llmsim::start(settings).expect("a simulated server starts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = control::Settings {
            listen: any_port(),
            state_dir: folder.path().to_path_buf(),
            probe_interval: Duration::from_millis(100),
            probe_timeout: DEADLINE,
            ..control::Settings::default()
        };
        let control = control::start(settings).await.expect("the control plane starts");
        let url = format!("http://{}", control.addr);
        let mut management = ManagementClient::connect(url.clone()).await.expect("it listens");
        let backend = v1::Backend { name: "b".to_owned(), url: sim.url(), ..v1::Backend::default() };
        let request = v1::CreateBackendRequest { backend: Some(backend) };
        management.create_backend(request).await.expect("a backend");
        let plane = Plane::follow(&url, |_| {}).await;
        others(&plane, 0).await;
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let strangers: Vec<_> = (0..2)
            .map(|_| {
                let ask = rig::client().post(format!("{}/v1/chat/completions", sim.url())).json(&body);
                tokio::spawn(async move { ask.send().await.map(|_| ()) })
            })
            .collect();
        assert!(sim.wait(|stats| stats.busy == 2, DEADLINE).await);
        others(&plane, 2).await;
        strangers.iter().for_each(tokio::task::JoinHandle::abort);
        others(&plane, 0).await;
        plane.stop().await;
        control.stop().await;
    }
}
