//! `llmctl status` says which of the two holds a backend out, a data plane's breaker or the probes, and why.

mod rig;

use std::time::{Duration, Instant};

use llmsim::{Fault, Kind, Settings, Sim};
use rig::{Up, shell};

const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until the row of the backend is as wanted.
fn shown(up: &Up, what: &str, right: impl Fn(&str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let (code, stdout, stderr) = up.llmctl("status");
        assert_eq!(code, 0, "{stderr}");
        match stdout.lines().find(|line| line.contains(" openai ")) {
            Some(row) if right(row) => return row.to_owned(),
            _ => assert!(began.elapsed() < DEADLINE, "{what} is not shown:\n{stdout}"),
        }
    }
}

fn ask(up: &Up) -> String {
    let url = up.url("Serving at");
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":2}"#;
    let curl = format!("curl -s -o /dev/null -w '%{{http_code}}' {url}/v1/chat/completions -d '{body}'");
    shell(&curl, &std::env::temp_dir()).1
}

fn sim() -> Sim {
    let settings = Settings {
        kind: Kind::Openai,
        models: vec!["m".to_owned()],
        prefill_tps: 0.0,
        decode_tps: 1000.0,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server")
}

#[test]
fn status_says_who_holds_a_backend_out_and_why() {
    let sim = sim();
    let state = tempfile::tempdir().expect("a folder");
    let state_dir = state.path().to_str().expect("a plain path");
    let up = Up::start(&["--backend", &sim.url(), "--state-dir", state_dir, "--probe-interval", "300ms"]);
    let free =
        |row: &str| row.contains(" healthy ") && !row.contains("data plane:") && !row.contains("probes:");
    shown(&up, "nothing against it", free);

    // Its probes are fine all the while: a breaker alone holds it out.
    sim.set_fault(Fault::Status { code: 500, retry_after: None }, None);
    let answers: Vec<String> = (0..5).map(|_| ask(&up)).collect();
    assert!(answers.iter().all(|status| status.starts_with('5')), "{answers:?}");
    let failed = |row: &str| row.contains("data plane: ") && row.contains(" after answers that it failed");
    let row = shown(&up, "the breaker", failed);
    assert!(row.contains(" healthy ") && !row.contains("probes:"), "{row}");
    sim.clear_fault();
    let began = Instant::now();
    while ask(&up) != "200" {
        assert!(began.elapsed() < DEADLINE, "it is not tried again");
    }
    shown(&up, "its return", free);

    sim.set_fault(Fault::Status { code: 429, retry_after: Some(60) }, None);
    assert_eq!(ask(&up), "429");
    let row = shown(&up, "its wish", |row| row.contains("data plane: asked to be left alone for "));
    assert!(row.contains(" healthy ") && !row.contains("probes:"), "{row}");

    sim.set_fault(Fault::Refuse, None);
    let both =
        |row: &str| row.contains(" unhealthy ") && row.contains("probes: ") && row.contains("; data plane: ");
    shown(&up, "both of them", both);
    assert_eq!(up.stop(), Some(0));
}
