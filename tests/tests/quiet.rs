//! No prompt and no secret in the logs at any level below trace, nor in metrics, views or the API.

use llmsim::{Kind, Settings};
use serde_json::json;
use tests::{
    process::{Process, field},
    rig::{self, DEADLINE},
};

const PROMPT: &str = "the-prompt-that-nobody-may-read";
const OURS: &str = "sk-ours-0123456789";
const THEIRS: &str = "sk-theirs-9876543210";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_metrics_and_views_hold_no_prompt_and_no_secret() {
    let sim = llmsim::start(Settings {
        kind: Kind::Openai,
        models: vec!["m".to_owned()],
        api_key: Some(OURS.to_owned()),
        decode_tps: 0.0,
        ..Settings::default()
    })
    .expect("a simulated server starts");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().display().to_string();
    let env = [("LLMB_LOG", "debug"), ("LLMB_TEST_SECRET", OURS)];
    let control = Process::start("llmb-control", &["--listen", "127.0.0.1:0", "--state-dir", &state], &env);
    let line = control.line("its address", |line| line.contains("control plane runs"));
    let control_url = format!("http://{}", field(&line, "addr"));
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let args = [&["--control", &control_url, "--state-dir", &state][..], &listen].concat();
    let data = Process::start("llmb-data", &args, &env);
    let line = data.line("its address", |line| line.contains("data plane serves"));
    let (url, admin) =
        (format!("http://{}", field(&line, "listen")), format!("http://{}", field(&line, "admin")));
    let added = Process::start(
        "llmctl",
        &[
            "--control",
            &control_url,
            "-o",
            "json",
            "backend",
            "add",
            "one",
            &sim.url(),
            "--credential",
            "env:LLMB_TEST_SECRET",
        ],
        &env,
    );
    let _ = added.line("the backend", |line| line.contains("env:LLMB_TEST_SECRET"));

    let client = rig::client();
    let began = std::time::Instant::now();
    while !client
        .get(format!("{url}/v1/models"))
        .send()
        .await
        .expect("a list")
        .text()
        .await
        .expect("text")
        .contains("\"m\"")
    {
        assert!(began.elapsed() < DEADLINE, "{}\n{}", control.said(), data.said());
    }
    let body = json!({"model": "m", "messages": [{"role": "user", "content": PROMPT}], "stream": true});
    for body in
        [body.to_string(), body.to_string().replace("true", "false"), format!("{{\"model\":\"m\" {PROMPT}")]
    {
        let response = client
            .post(format!("{url}/v1/chat/completions?key={THEIRS}"))
            .header("authorization", format!("Bearer {THEIRS}"))
            .header("x-api-key", THEIRS)
            .body(body)
            .send()
            .await
            .expect("an answer");
        // A malformed body may be quoted to the client that sent it, and to nobody else.
        let _ = response.text().await;
    }
    let served = sim
        .stats()
        .requests
        .iter()
        .filter(|seen| String::from_utf8_lossy(&seen.body).contains(PROMPT))
        .filter(|seen| seen.header("authorization") == Some(&format!("Bearer {OURS}")))
        .count();
    assert_eq!(served, 2, "the product's own credential reaches the server");
    assert!(
        sim.stats().requests.iter().all(|seen| !format!("{:?} {}", seen.headers, seen.path).contains(THEIRS))
    );
    let fetch =
        async |url: String| client.get(url).send().await.expect("an answer").text().await.expect("text");
    let metrics = fetch(format!("{admin}/metrics")).await;
    let view = fetch(format!("{admin}/view")).await;
    let management = fetch(format!("{control_url}/metrics")).await;
    for (what, text) in [
        ("the control plane's log", control.said()),
        ("the data plane's log", data.said()),
        ("llmctl", added.said()),
        ("metrics", metrics),
        ("the view", view),
        ("management metrics", management),
    ] {
        assert!(!text.is_empty(), "{what} is empty");
        for secret in [PROMPT, OURS, THEIRS] {
            assert!(!text.contains(secret), "{what} holds {secret}:\n{text}");
        }
    }
    assert!(data.said().contains("answered"), "the log at debug tells of answers:\n{}", data.said());
}
