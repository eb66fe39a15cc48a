//! LM Studio, with its API of 0.4 (v1) or 0.3.6 (v0).

use serde_json::Value;
use wire::Dialect;

use super::{
    Sort,
    answer::{Answer, Answers, Question},
    openai,
};
use crate::model::{Kind, Model};

pub static SORT: Sort = Sort {
    kind: Kind::LmStudio,
    cheap: &[Question::LmstudioV1, Question::LmstudioV0],
    recognise,
    models,
    slots,
    cache_tokens: |_| 0,
    requests: |_| None,
    version: |_| String::new(),
    speaks,
    own: None,
};

fn v1(answers: &Answers) -> Option<&Vec<Value>> {
    let list = answers.json(&Question::LmstudioV1)?.get("models")?.as_array()?;
    let all = |entry: &Value| entry.get("key").is_some() && entry.get("loaded_instances").is_some();
    list.iter().all(all).then_some(list)
}

fn v0(answers: &Answers) -> Option<&Vec<Value>> {
    let list = answers.json(&Question::LmstudioV0)?.get("data")?.as_array()?;
    let all = |entry: &Value| entry.get("state").is_some() && entry.get("compatibility_type").is_some();
    list.iter().all(all).then_some(list)
}

fn recognise(answers: &Answers) -> Option<(Question, String)> {
    if let Some(list) = v1(answers) {
        return Some((
            Question::LmstudioV1,
            format!("{} models with loaded_instances: LM Studio", list.len()),
        ));
    }
    let list = v0(answers)?;
    Some((Question::LmstudioV0, format!("{} models with state: LM Studio", list.len())))
}

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    if let Some(list) = v1(answers) {
        return Ok(list.iter().filter_map(from_v1).collect());
    }
    let list = v0(answers).ok_or_else(|| answers.why_not(&Question::LmstudioV0))?;
    Ok(list.iter().filter_map(from_v0).collect())
}

fn from_v1(entry: &Value) -> Option<Model> {
    let instances = entry.get("loaded_instances")?.as_array()?;
    let loaded = instances.first().and_then(|instance| instance.pointer("/config/context_length"));
    let told = openai::tokens(loaded).or_else(|| openai::tokens(entry.get("max_context_length")));
    let has = |key: &str| entry.pointer(&format!("/capabilities/{key}"));
    let mut capabilities = vec![sort_of(entry.get("type"))];
    for (key, word) in [("vision", "vision"), ("trained_for_tool_use", "tools")] {
        if has(key).and_then(Value::as_bool) == Some(true) {
            capabilities.push(word.to_owned());
        }
    }
    if has("reasoning").is_some_and(Value::is_object) {
        capabilities.push("thinking".to_owned());
    }
    Some(Model {
        name: entry.get("key")?.as_str()?.to_owned(),
        resident: !instances.is_empty(),
        context_length: told.unwrap_or(0),
        capabilities,
    })
}

fn from_v0(entry: &Value) -> Option<Model> {
    let told = ["loaded_context_length", "max_context_length"];
    let mut capabilities = vec![sort_of(entry.get("type"))];
    if entry.get("type").and_then(Value::as_str) == Some("vlm") {
        capabilities.push("vision".to_owned());
    }
    let uses = entry.get("capabilities").and_then(Value::as_array).into_iter().flatten();
    if uses.into_iter().any(|word| word == "tool_use") {
        capabilities.push("tools".to_owned());
    }
    Some(Model {
        name: entry.get("id")?.as_str()?.to_owned(),
        resident: entry.get("state").and_then(Value::as_str) == Some("loaded"),
        context_length: told.iter().find_map(|key| openai::tokens(entry.get(*key))).unwrap_or(0),
        capabilities,
    })
}

fn sort_of(kind: Option<&Value>) -> String {
    let embeds = kind.and_then(Value::as_str).is_some_and(|kind| kind.starts_with("embedding"));
    if embeds { "embedding" } else { "completion" }.to_owned()
}

/// Each loaded model has its own; the backend has the fewest, so that none is overrun.
fn slots(answers: &Answers) -> u32 {
    let instances =
        v1(answers).into_iter().flatten().filter_map(|entry| entry.get("loaded_instances")?.as_array());
    let told =
        instances.flatten().filter_map(|instance| openai::tokens(instance.pointer("/config/parallel")));
    told.min().unwrap_or(0)
}

/// Its errors may be a bare string. Unknown paths are answered with 200, which is no refusal.
fn speaks(dialect: Dialect, answer: &Answer) -> bool {
    let unexpected =
        answer.error().and_then(Value::as_str).is_some_and(|text| text.starts_with("Unexpected endpoint"));
    match dialect {
        Dialect::Anthropic => answer.is_refusal() && openai::is_anthropic_error(answer),
        _ if openai::misses_model(answer) => true,
        _ => answer.is_refusal() && !unexpected && answer.error().is_some(),
    }
}
