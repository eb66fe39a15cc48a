//! The simulated servers of `up --demo`, what is routed to them, and what to try on them.

use llmsim::{Kind, Settings, Sim};
use proto::v1::{Route, Target, route::Match};

use crate::failure::Failure;

/// A simulated server: its kind, which is its name too, its slots (as the product assumes them, where the kind does not
/// tell) and its models.
const SERVERS: [(Kind, u32, &[&str]); 5] = [
    (Kind::Ollama, 1, &["llama3.2:3b", "qwen3:8b"]),
    (Kind::Llamacpp, 2, &["qwen3:8b"]),
    (Kind::Vllm, 16, &["llama3.2:3b", "qwen3:8b"]),
    (Kind::Anthropic, 1, &["claude-sonnet-4-5"]),
    (Kind::Gemini, 1, &["gemini-2.5-flash"]),
];

/// Running simulated servers; they stop when this is dropped.
pub struct Demo {
    sims: Vec<(&'static str, Sim)>,
}

impl Demo {
    /// Starts them on free ports of this machine.
    ///
    /// # Errors
    /// [`Failure::Failed`] when no port or thread can be had.
    pub fn start() -> Result<Demo, Failure> {
        let start = |(kind, slots, models): (Kind, u32, &[&str])| {
            let settings = Settings {
                kind,
                slots,
                models: models.iter().map(|model| (*model).to_owned()).collect(),
                prefill_tps: 2_000.0,
                decode_tps: 40.0,
                output_tokens: 40,
                name: kind.name().to_owned(),
                ..Settings::default()
            };
            let fault = |error| Failure::Failed(format!("a simulated server does not start: {error}"));
            Ok((kind.name(), llmsim::start(settings).map_err(fault)?))
        };
        Ok(Demo { sims: SERVERS.into_iter().map(start).collect::<Result<_, Failure>>()? })
    }

    /// Name and URL of each.
    pub fn backends(&self) -> Vec<(String, String)> {
        self.sims.iter().map(|(name, sim)| ((*name).to_owned(), sim.url())).collect()
    }
}

/// Two routes: a name that clients are fond of, and every "-latest".
pub fn routes() -> [Route; 2] {
    let route = |name: &str, r#match: Match, model: &str| Route {
        name: name.to_owned(),
        r#match: Some(r#match),
        targets: vec![Target { model: model.to_owned(), backend: String::new(), weight: None }],
        ..Route::default()
    };
    [
        route("gpt-4o", Match::Exact("gpt-4o".to_owned()), "qwen3:8b"),
        route("latest", Match::Pattern("^(.*)-latest$".to_owned()), "$1"),
    ]
}

/// Commands that work as they stand while the demo runs. `base` is the URL that clients use, `llmctl` the command.
pub fn commands(base: &str, llmctl: &str) -> Vec<String> {
    let messages = r#""messages":[{"role":"user","content":"Why is the sky blue?"}]"#;
    let json = "-H 'content-type: application/json'";
    vec![
        format!(
            r#"curl -N {base}/v1/chat/completions {json} -d '{{"model":"gpt-4o","stream":true,{messages}}}'"#
        ),
        format!(
            r#"curl {base}/v1/messages {json} -H 'anthropic-version: 2023-06-01' -d '{{"model":"claude-sonnet-4-5-latest","max_tokens":64,{messages}}}'"#
        ),
        format!(
            r#"curl {base}/v1beta/models/gemini-2.5-flash:generateContent {json} -d '{{"contents":[{{"parts":[{{"text":"Why is the sky blue?"}}]}}]}}'"#
        ),
        format!(r#"curl -N {base}/api/chat {json} -d '{{"model":"llama3.2:3b",{messages}}}'"#),
        format!("{llmctl} status"),
        format!("{llmctl} backend get ollama"),
    ]
}
