//! vLLM.

use serde_json::Value;
use wire::Dialect;

use super::{
    Sort,
    answer::{Answer, Answers, Question},
    openai,
};
use crate::model::{Kind, Model};

pub static SORT: Sort = Sort {
    kind: Kind::Vllm,
    cheap: &[Question::Models],
    recognise,
    models,
    slots: |_| 0,
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

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    let list = openai::list(answers).ok_or_else(|| answers.why_not(&Question::Models))?;
    Ok(list.iter().filter_map(|entry| openai::model(entry, true)).collect())
}

/// Its validation answers in the OpenAI form on every path, also on `/v1/messages`; unknown paths are 404.
fn speaks(_: Dialect, answer: &Answer) -> bool {
    let refused = openai::is_openai_error(answer) || openai::is_anthropic_error(answer);
    openai::misses_model(answer) || answer.is_refusal() && refused
}
