//! Simulated servers behind both planes, each plane a process of its own.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use llmsim::{Kind, Settings, Sim};
use proto::v1;
use serde_json::{Value, json};
use tests::{process::Process, rig};

use super::Asked;
use crate::slow_parts::{
    PATIENCE,
    planes::{Manage, address, control, data, manage},
};

/// How often it is looked whether the servers are up.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Servers by their backends' names, and the planes.
pub struct Fleet {
    pub sims: BTreeMap<String, Sim>,
    manage: Manage,
    pooled: bool,
    url: String,
    admin: String,
    client: reqwest::Client,
    _processes: [Process; 2],
    _folder: tempfile::TempDir,
}

/// An answer, and who gave it.
pub struct Told {
    pub backend: String,
    pub text: String,
}

impl Fleet {
    /// Starts the servers and waits until all of them are known to be up.
    pub async fn start(servers: impl IntoIterator<Item = (&'static str, Settings)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listen = address();
        let plane = control(&listen, &folder.path().join("control")).0;
        let mut manage = manage(&listen).await;
        let (mut sims, mut pooled) = (BTreeMap::new(), false);
        for (name, settings) in servers {
            let row = row(name, &settings);
            pooled = settings.kind == Kind::Vllm;
            let sim = llmsim::start(settings).expect("a simulated server starts");
            let backend = Some(v1::Backend { url: sim.url(), ..row });
            manage.create_backend(v1::CreateBackendRequest { backend }).await.expect("added");
            sims.insert(name.to_owned(), sim);
        }
        let (data, addr, admin) = data(&listen, &folder.path().join("data"));
        let (url, admin) = (format!("http://{addr}"), format!("http://{admin}"));
        let client = rig::client();
        let fleet =
            Self { sims, manage, pooled, url, admin, client, _processes: [plane, data], _folder: folder };
        fleet.until_up().await;
        fleet
    }

    /// Serves a model under another name too, placed by a rule of its own.
    pub async fn route(&mut self, name: &str, model: &str, policy: v1::Policy) {
        let target = v1::Target { model: model.to_owned(), ..v1::Target::default() };
        let route = Some(v1::Route {
            name: name.to_owned(),
            r#match: Some(v1::route::Match::Exact(name.to_owned())),
            targets: vec![target],
            policy: policy as i32,
            ..v1::Route::default()
        });
        let asked = v1::CreateRouteRequest { route };
        let revision = self.manage.create_route(asked).await.expect("added").into_inner().revision;
        self.until(|view| view["revision"].as_u64() >= Some(revision)).await;
    }

    /// Waits until all servers are known to be up.
    pub async fn until_up(&self) {
        let up = |view: &Value| {
            let rows = view["backends"].as_array().map_or(&[][..], Vec::as_slice);
            rows.len() == self.sims.len() && rows.iter().all(|row| row["healthy"] == true)
        };
        self.until(up).await;
    }

    async fn until(&self, right: impl Fn(&Value) -> bool) {
        let (began, mut ticks) = (Instant::now(), tokio::time::interval(LOOK_AGAIN));
        loop {
            ticks.tick().await;
            let view = self.client.get(format!("{}/view", self.admin)).send().await.expect("an answer");
            let view: Value = view.json().await.expect("JSON");
            if right(&view) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{view}");
        }
    }

    /// Tokens that were expected to be cached, that were told to have been, and the sum of the differences.
    pub async fn foreseen(&self) -> [u64; 3] {
        let answer = self.client.get(format!("{}/metrics", self.admin)).send().await.expect("an answer");
        let text = answer.text().await.expect("a body");
        ["expected", "told", "missed"].map(|kind| {
            let label = format!("kind=\"{kind}\"");
            let rows = text.lines().filter(|line| line.starts_with("llmb_prefix_tokens_total{"));
            let counts = rows.filter(|row| row.contains(&label)).filter_map(|row| row.rsplit(' ').next());
            counts.map(|count| count.parse::<u64>().expect("a count")).sum()
        })
    }
}

impl Asked for Fleet {
    fn pooled(&self) -> bool {
        self.pooled
    }

    async fn chat(&self, model: &str, messages: &[Value]) -> Told {
        let url = format!("{}/v1/chat/completions", self.url);
        Told::of(ask(&self.client, &url, model, messages).await.expect("an answer")).await
    }
}

/// Asks in a stream.
pub async fn ask(
    client: &reqwest::Client,
    url: &str,
    model: &str,
    messages: &[Value],
) -> reqwest::Result<reqwest::Response> {
    client.post(url).json(&json!({"model": model, "messages": messages, "stream": true})).send().await
}

impl Told {
    /// Reads a stream to its end.
    pub async fn of(answer: reqwest::Response) -> Self {
        let backend = answer.headers().get("x-llmb-backend").and_then(|name| name.to_str().ok());
        let backend = backend.unwrap_or_default().to_owned();
        let (status, text) = (answer.status(), answer.text().await.expect("a whole stream"));
        assert!(status == 200 && text.contains("[DONE]"), "{status} {text}");
        let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let said = events.filter_map(|event| {
            let event: Value = serde_json::from_str(event).ok()?;
            event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
        });
        Self { backend, text: said.collect() }
    }
}

fn row(name: &str, settings: &Settings) -> v1::Backend {
    let kind = match settings.kind {
        Kind::Ollama => v1::Kind::Ollama,
        Kind::LmStudio => v1::Kind::LmStudio,
        Kind::Llamacpp => v1::Kind::Llamacpp,
        Kind::Vllm => v1::Kind::Vllm,
        Kind::Openai => v1::Kind::Openai,
        Kind::Anthropic => v1::Kind::Anthropic,
        Kind::Gemini => v1::Kind::Gemini,
    };
    v1::Backend {
        name: name.to_owned(),
        kind: kind as i32,
        max_concurrency: settings.slots,
        dialects: vec![v1::Dialect::OpenaiChat as i32],
        ..v1::Backend::default()
    }
}
