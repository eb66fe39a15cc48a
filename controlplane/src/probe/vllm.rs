//! vLLM.

use serde_json::Value;
use wire::Dialect;

use super::{
    Sort,
    answer::{Answer, Answers, Question},
    openai,
};
use crate::model::{Kind, Model};

/// The metric whose labels describe the prompt cache.
const CACHE_CONFIG: &str = "vllm:cache_config_info{";
const RUNNING: &str = "vllm:num_requests_running{";
const WAITING: &str = "vllm:num_requests_waiting{";
/// How the lines of its metrics begin that are read.
pub const READ: [&str; 3] = [CACHE_CONFIG, RUNNING, WAITING];

pub static SORT: Sort = Sort {
    kind: Kind::Vllm,
    cheap: &[Question::Models, Question::Metrics],
    recognise,
    models,
    slots: |_| 0,
    cache_tokens,
    requests,
    version: |answers| version(answers).unwrap_or_default().to_owned(),
    speaks,
    own: None,
};

fn version(answers: &Answers) -> Option<&str> {
    answers.json(&Question::Version)?.get("version")?.as_str()
}

fn recognise(answers: &Answers) -> Option<(Question, String)> {
    let list = openai::list(answers)?;
    let owned = |entry: &Value| entry.get("owned_by").and_then(Value::as_str) == Some("vllm");
    if list.iter().any(owned) {
        return Some((Question::Models, "owned_by=vllm: vLLM".to_owned()));
    }
    let long = list.iter().any(|entry| entry.get("max_model_len").is_some());
    let version = version(answers).filter(|_| long)?;
    Some((Question::Version, format!("version {version}, models with max_model_len: vLLM")))
}

/// Blocks on the GPU times the tokens of one.
fn cache_tokens(answers: &Answers) -> u32 {
    let text = answers.get(&Question::Metrics).map_or("", |answer| answer.text.as_str());
    let Some(line) = text.lines().find(|line| line.starts_with(CACHE_CONFIG)) else { return 0 };
    let label = |name: &str| {
        let quoted = line.split_once(&format!("{name}=\""))?.1;
        quoted.split_once('"')?.0.parse::<u64>().ok()
    };
    let tokens = label("num_gpu_blocks").zip(label("block_size")).and_then(|(n, size)| n.checked_mul(size));
    tokens.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(0)
}

/// Over all its engines.
fn requests(answers: &Answers) -> Option<u32> {
    let text = &answers.get(&Question::Metrics)?.text;
    let told = text.lines().filter(|line| line.starts_with(RUNNING) || line.starts_with(WAITING));
    let counts = told.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.reduce(|sum, count| Some(sum? + count?))?.map(|sum| sum as u32)
}

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    let list = openai::list(answers).ok_or_else(|| answers.why_not(&Question::Models))?;
    Ok(list.iter().filter_map(|entry| openai::model(entry, true)).collect())
}

/// Its validation answers in the OpenAI form on every path, also on `/v1/messages`; unknown paths are 404.
fn speaks(_: Dialect, answer: &Answer) -> bool {
    let refused = openai::is_openai_error(answer) || openai::is_anthropic_error(answer);
    openai::misses_model(answer) || answer.is_refusal() && refused
}
