//! Any OpenAI-compatible server; and how an OpenAI list and error look, for kinds that have them too.

use serde_json::Value;
use wire::Dialect;

use super::{
    Sort,
    answer::{Answer, Answers, Question},
};
use crate::model::{Kind, Model};

pub static SORT: Sort = Sort {
    kind: Kind::Openai,
    cheap: &[Question::Models],
    recognise,
    models,
    slots: |_| 0,
    cache_tokens: |_| 0,
    requests: |_| None,
    version: |_| String::new(),
    speaks,
    own: None,
};

fn recognise(answers: &Answers) -> Option<(Question, String)> {
    let count = list(answers)?.len();
    Some((Question::Models, format!("a list of {count} models: OpenAI-compatible")))
}

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    let list = list(answers).ok_or_else(|| answers.why_not(&Question::Models))?;
    Ok(list.iter().filter_map(|entry| model(entry, false)).collect())
}

/// The entries of `GET /v1/models`: `{"object":"list","data":[…]}`, or a bare array as Together gives it.
pub fn list(answers: &Answers) -> Option<&Vec<Value>> {
    let json = answers.json(&Question::Models)?;
    let list = match json {
        Value::Array(list) => list,
        Value::Object(object) if object.get("object").and_then(Value::as_str) == Some("list") => {
            object.get("data")?.as_array()?
        }
        _ => return None,
    };
    list.iter().all(|entry| entry.get("id").is_some_and(Value::is_string)).then_some(list)
}

/// One entry of an OpenAI list.
pub fn model(entry: &Value, resident: bool) -> Option<Model> {
    let name = entry.get("id")?.as_str()?.to_owned();
    let told = ["max_model_len", "context_length", "context_window", "max_context_length"];
    let context_length = told.iter().find_map(|key| tokens(entry.get(*key))).unwrap_or(0);
    Some(Model { name, resident, context_length, capabilities: Vec::new() })
}

/// A number of tokens.
pub fn tokens(value: Option<&Value>) -> Option<u32> {
    value?.as_u64().and_then(|tokens| u32::try_from(tokens).ok())
}

fn speaks(dialect: Dialect, answer: &Answer) -> bool {
    match dialect {
        Dialect::Anthropic => answer.is_refusal() && is_anthropic_error(answer),
        _ if misses_model(answer) => true,
        _ => answer.is_refusal() && (is_openai_error(answer) || names_a_field(dialect, answer)),
    }
}

/// A 404 that blames the model, not the path: some look for the model before they look at the rest.
pub fn misses_model(answer: &Answer) -> bool {
    let says =
        |key: &str, word: &str| answer.error().is_some_and(|error| error.get(key).is_some_and(|v| v == word));
    let blamed = says("code", "model_not_found") || says("param", "model");
    answer.status == 404 && blamed && is_openai_error(answer)
}

/// `{"error":{"message":…,"type"|"code"|"param":…}}` and not the Anthropic form of it.
pub fn is_openai_error(answer: &Answer) -> bool {
    let Some(error) = answer.error() else { return false };
    let telling = ["type", "code", "param"].iter().any(|key| error.get(key).is_some());
    error.get("message").is_some_and(Value::is_string) && telling && !is_anthropic_error(answer)
}

/// `{"type":"error","error":{"type":…,"message":…}}`.
pub fn is_anthropic_error(answer: &Answer) -> bool {
    let kind = answer.json.as_ref().and_then(|json| json.get("type"));
    kind.and_then(Value::as_str) == Some("error")
        && answer.error().is_some_and(|error| error.get("type").is_some_and(Value::is_string))
}

/// FastAPI's `{"detail":[{"loc":["body","messages"]}]}`: a validation that names the dialect's own field.
fn names_a_field(dialect: Dialect, answer: &Answer) -> bool {
    let field = match dialect {
        Dialect::OpenaiChat => "messages",
        Dialect::OpenaiCompletions => "prompt",
        Dialect::OpenaiResponses | Dialect::OpenaiEmbeddings => "input",
        Dialect::Anthropic | Dialect::Gemini | Dialect::Ollama => return false,
    };
    let detail = answer.json.as_ref().and_then(|json| json.get("detail")).and_then(Value::as_array);
    detail
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("loc")?.as_array())
        .flatten()
        .any(|at| at == field)
}
