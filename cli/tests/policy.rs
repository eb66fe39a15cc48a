//! A route's policy from `llmctl` to the servers.

mod rig;

use std::time::{Duration, Instant};

use llmsim::{Kind, Settings};
use rig::{Up, shell};

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn round_robin_is_set_by_name_and_alternates() {
    let sims = ["a", "b"].map(|_| {
        let models = vec!["m".to_owned()];
        let fast = Settings { prefill_tps: 0.0, decode_tps: 0.0, ..Settings::default() };
        llmsim::start(Settings { kind: Kind::Vllm, slots: 4, models, ..fast }).expect("a simulated server")
    });
    let folder = tempfile::tempdir().expect("a folder");
    let state_dir = folder.path().to_str().expect("a plain path");
    let (one, other) = (sims[0].url(), sims[1].url());
    let up = Up::start(&["--backend", &one, "--backend", &other, "--state-dir", state_dir]);
    let (code, stdout, stderr) =
        up.llmctl("route add turns --exact turns --to m --policy round-robin --class batch");
    assert!(code == 0 && stdout.contains("round-robin") && stdout.contains("batch"), "{stdout}{stderr}");
    let body = r#"{"model":"turns","messages":[{"role":"user","content":"hi"}]}"#;
    let url = up.url("Serving at");
    let line = format!(
        "curl -s -o answer -D - -H 'content-type: application/json' -d '{body}' {url}/v1/chat/completions"
    );
    let ask = || {
        let (_, heads, _) = shell(&line, folder.path());
        let backend = heads.lines().find_map(|line| line.strip_prefix("x-llmb-backend: "));
        backend.map(|name| name.trim().to_owned())
    };
    let began = Instant::now();
    let mut last = loop {
        match ask() {
            Some(backend) => break backend,
            None => assert!(began.elapsed() < DEADLINE, "the route does not come"),
        }
    };
    for turn in 0..10 {
        let backend = ask().expect("an answer");
        assert_ne!(backend, last, "turn {turn}");
        last = backend;
    }
}
