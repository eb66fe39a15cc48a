//! SGLang.

use serde_json::Value;
use wire::Dialect;

use super::{
    Sort,
    answer::{Answer, Answers, Question},
    openai,
};
use crate::model::{Kind, Model};

pub static SORT: Sort = Sort {
    kind: Kind::Sglang,
    cheap: &[Question::Models, Question::ServerInfo, Question::ServerInfoOld, Question::Loads],
    recognise,
    models,
    slots,
    cache_tokens,
    requests,
    version: |answers| told(answers, "/version").and_then(Value::as_str).unwrap_or_default().to_owned(),
    speaks,
    own: None,
};

/// What else is asked of one.
pub const FURTHER: [Question; 4] =
    [Question::ServerInfo, Question::ServerInfoOld, Question::ModelInfo, Question::Loads];

/// From its description of itself: its settings, and a state for each of its engines.
fn told<'a>(answers: &'a Answers, pointer: &str) -> Option<&'a Value> {
    let info = answers.json(&Question::ServerInfo).or_else(|| answers.json(&Question::ServerInfoOld))?;
    info.pointer(pointer).filter(|value| !value.is_null())
}

fn recognise(answers: &Answers) -> Option<(Question, String)> {
    let owned = |entry: &Value| entry.get("owned_by").and_then(Value::as_str) == Some("sglang");
    openai::list(answers)?.iter().any(owned).then(|| (Question::Models, "owned_by=sglang: SGLang".to_owned()))
}

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    let list = openai::list(answers).ok_or_else(|| answers.why_not(&Question::Models))?;
    let sees = answers.json(&Question::ModelInfo).and_then(|info| info.get("has_image_understanding"));
    let vision = sees.and_then(Value::as_bool).unwrap_or(false);
    let mut models: Vec<Model> = list.iter().filter_map(|entry| openai::model(entry, true)).collect();
    models.iter_mut().filter(|_| vision).for_each(|model| model.capabilities.push("vision".to_owned()));
    Ok(models)
}

/// As many as its operator lets run; what it would take by itself is thousands, at a speed that nobody wants.
fn slots(answers: &Answers) -> u32 {
    openai::tokens(told(answers, "/max_running_requests")).unwrap_or(0)
}

/// Over all its engines: each has a pool of its own.
fn cache_tokens(answers: &Answers) -> u32 {
    let each = openai::tokens(told(answers, "/max_total_num_tokens"));
    let engines =
        told(answers, "/internal_states").and_then(Value::as_array).map_or(1, |all| all.len().max(1));
    let all = each.and_then(|each| each.checked_mul(u32::try_from(engines).ok()?));
    all.unwrap_or(0)
}

/// At work or waiting, over all its engines.
fn requests(answers: &Answers) -> Option<u32> {
    let loads = answers.json(&Question::Loads)?.get("loads")?.as_array()?;
    let count = |load: &Value, key: &str| load.get(key)?.as_u64();
    let each =
        loads.iter().map(|load| Some(count(load, "num_running_reqs")? + count(load, "num_waiting_reqs")?));
    let all = each.reduce(|sum, each| sum?.checked_add(each?))??;
    u32::try_from(all).ok()
}

/// Its errors are flat: `{"object":"error","message":…}`.
fn speaks(_: Dialect, answer: &Answer) -> bool {
    let flat = || {
        let json = answer.json.as_ref()?;
        (json.get("object")? == "error").then(|| json.get("message").is_some_and(Value::is_string))
    };
    let refused =
        openai::is_openai_error(answer) || openai::is_anthropic_error(answer) || flat() == Some(true);
    openai::misses_model(answer) || answer.is_refusal() && refused
}
