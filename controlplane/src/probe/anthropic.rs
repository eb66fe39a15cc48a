//! Any Anthropic-compatible server.

use serde_json::Value;
use wire::Dialect;

use super::{
    Sort,
    answer::{Answer, Answers, Question},
    openai,
};
use crate::model::{Kind, Model};

pub static SORT: Sort = Sort {
    kind: Kind::Anthropic,
    cheap: &[Question::ModelsAnthropic],
    recognise,
    models,
    slots: |_| 0,
    cache_tokens: |_| 0,
    requests: |_| None,
    version: |_| String::new(),
    speaks,
    own: None,
};

fn list(answers: &Answers) -> Option<&Vec<Value>> {
    let list = answers.json(&Question::ModelsAnthropic)?.get("data")?.as_array()?;
    list.iter().all(|entry| entry.get("id").is_some_and(Value::is_string)).then_some(list)
}

/// A 404 on `/v1/messages` is no sign, whatever its body: only a refusal in the dialect's own words is.
fn recognise(answers: &Answers) -> Option<(Question, String)> {
    let question = Question::Empty(Dialect::Anthropic);
    let answer = answers.get(&question).filter(|answer| answer.is_refusal())?;
    let list = list(answers)?.len();
    openai::is_anthropic_error(answer)
        .then(|| (question, format!("Anthropic error, {list} models listed: Anthropic-compatible")))
}

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    let list = list(answers).ok_or_else(|| answers.why_not(&Question::ModelsAnthropic))?;
    Ok(list.iter().filter_map(model).collect())
}

fn model(entry: &Value) -> Option<Model> {
    Some(Model {
        name: entry.get("id")?.as_str()?.to_owned(),
        resident: false,
        context_length: openai::tokens(entry.get("max_input_tokens")).unwrap_or(0),
        capabilities: vec!["completion".to_owned()],
    })
}

fn speaks(dialect: Dialect, answer: &Answer) -> bool {
    (openai::SORT.speaks)(dialect, answer)
}
