//! Any Gemini-compatible server.

use serde_json::Value;

use super::{
    Sort,
    answer::{Answers, Question},
    openai,
};
use crate::model::{Kind, Model};
use wire::Dialect;

pub static SORT: Sort = Sort {
    kind: Kind::Gemini,
    cheap: &[Question::ModelsGemini],
    recognise,
    models,
    slots: |_| 0,
    cache_tokens: |_| 0,
    requests: |_| None,
    version: |_| String::new(),
    speaks: |dialect, answer| (openai::SORT.speaks)(dialect, answer),
    own: Some(Dialect::Gemini),
};

/// The entries of `GET /v1beta/models`, when it is a Gemini list.
pub fn list(answers: &Answers) -> Option<&Vec<Value>> {
    let list = answers.json(&Question::ModelsGemini)?.get("models")?.as_array()?;
    let all = |entry: &Value| {
        entry.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("models/"))
            && entry.get("supportedGenerationMethods").is_some_and(Value::is_array)
    };
    (!list.is_empty() && list.iter().all(all)).then_some(list)
}

fn recognise(answers: &Answers) -> Option<(Question, String)> {
    let count = list(answers)?.len();
    Some((Question::ModelsGemini, format!("a list of {count} models: Gemini-compatible")))
}

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    let list = list(answers).ok_or_else(|| answers.why_not(&Question::ModelsGemini))?;
    Ok(list.iter().filter_map(model).collect())
}

fn model(entry: &Value) -> Option<Model> {
    let methods = entry.get("supportedGenerationMethods")?.as_array()?;
    let mut capabilities = Vec::new();
    for (method, word) in [("generateContent", "completion"), ("embedContent", "embedding")] {
        if methods.iter().any(|there| there == method) {
            capabilities.push(word.to_owned());
        }
    }
    if entry.get("thinking").and_then(Value::as_bool) == Some(true) {
        capabilities.push("thinking".to_owned());
    }
    Some(Model {
        name: entry.get("name")?.as_str()?.strip_prefix("models/")?.to_owned(),
        resident: false,
        context_length: openai::tokens(entry.get("inputTokenLimit")).unwrap_or(0),
        capabilities,
    })
}
