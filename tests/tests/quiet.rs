//! No prompt and no secret in the logs at any level below trace, nor in metrics, views or the API.

use llmsim::{Kind, Settings, Sim};
use serde_json::json;
use tests::{
    process::{Process, field},
    rig::{self, DEADLINE},
};

const PROMPT: &str = "the-prompt-that-nobody-may-read";
const OURS: &str = "sk-ours-0123456789";
const THEIRS: &str = "sk-theirs-9876543210";

/// Both planes and one server that wants a key.
struct House {
    control: Process,
    data: Process,
    added: Process,
    tail: Process,
    tape: String,
    control_url: String,
    url: String,
    admin: String,
}

impl House {
    fn start(sim: &Sim, state: &str) -> Self {
        let env = [("LLMB_LOG", "debug"), ("LLMB_TEST_SECRET", OURS)];
        let control =
            Process::start("llmb-control", &["--listen", "127.0.0.1:0", "--state-dir", state], &env);
        let line = control.line("its address", |line| line.contains("control plane runs"));
        let control_url = format!("http://{}", field(&line, "addr"));
        let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let tape = format!("{state}/tape");
        let args =
            [&["--control", &control_url, "--state-dir", state, "--tape", &tape][..], &listen].concat();
        let data = Process::start("llmb-data", &args, &env);
        let line = data.line("its address", |line| line.contains("data plane serves"));
        let (url, admin) =
            (format!("http://{}", field(&line, "listen")), format!("http://{}", field(&line, "admin")));
        let manage = ["--control", &control_url, "-o", "json"];
        let add = ["backend", "add", "one", &sim.url(), "--credential", "env:LLMB_TEST_SECRET"];
        let added = Process::start("llmctl", &[&manage[..], &add].concat(), &env);
        let _ = added.line("the backend", |line| line.contains("env:LLMB_TEST_SECRET"));
        let tail = Process::start("llmctl", &["tail", "--admin", &admin], &env);
        let _ = tail.line("the headings", |line| line.starts_with("TIME"));
        Self { control, data, added, tail, tape, control_url, url, admin }
    }

    async fn said(&self) -> Vec<(&'static str, String)> {
        let answered = self.tail.line("an answer", |line| line.contains("answered 200"));
        let id = answered.split_whitespace().nth(1).unwrap_or_default();
        vec![
            ("the tail", self.tail.said()),
            ("an explanation", fetch(format!("{}/explain/{id}", self.admin)).await),
            ("the tape", std::fs::read_to_string(&self.tape).expect("a tape")),
            ("the control plane's log", self.control.said()),
            ("the data plane's log", self.data.said()),
            ("llmctl", self.added.said()),
            ("metrics", fetch(format!("{}/metrics", self.admin)).await),
            ("the view", fetch(format!("{}/view", self.admin)).await),
            ("management metrics", fetch(format!("{}/metrics", self.control_url)).await),
        ]
    }
}

async fn fetch(url: String) -> String {
    rig::client().get(url).send().await.expect("an answer").text().await.expect("text")
}

async fn ask(url: &str) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": PROMPT}], "stream": true});
    let whole = body.to_string().replace("true", "false");
    for body in [body.to_string(), whole, format!("{{\"model\":\"m\" {PROMPT}")] {
        let response = rig::client()
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
}

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
    let house = House::start(&sim, &folder.path().display().to_string());
    let began = std::time::Instant::now();
    while !fetch(format!("{}/v1/models", house.url)).await.contains("\"m\"") {
        assert!(began.elapsed() < DEADLINE, "{}", house.data.said());
    }
    ask(&house.url).await;
    let seen = sim.stats().requests;
    let served = seen
        .iter()
        .filter(|seen| String::from_utf8_lossy(&seen.body).contains(PROMPT))
        .filter(|seen| seen.header("authorization") == Some(&format!("Bearer {OURS}")))
        .count();
    assert_eq!(served, 2, "the product's own credential reaches the server");
    assert!(seen.iter().all(|seen| !format!("{:?} {}", seen.headers, seen.path).contains(THEIRS)));
    for (what, text) in house.said().await {
        assert!(!text.is_empty(), "{what} is empty");
        for secret in [PROMPT, OURS, THEIRS] {
            assert!(!text.contains(secret), "{what} holds {secret}:\n{text}");
        }
    }
    let log = house.data.said();
    assert!(log.contains("answered"), "the log at debug tells of answers:\n{log}");
}
