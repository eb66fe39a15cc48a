//! Ollama.

use serde_json::Value;
use wire::Dialect;

use super::{
    Sort,
    answer::{Answer, Answers, Question},
    openai,
};
use crate::model::{Kind, Model};

pub static SORT: Sort = Sort {
    kind: Kind::Ollama,
    cheap: &[Question::OllamaTags, Question::OllamaPs, Question::OllamaVersion],
    recognise,
    models,
    slots: |_| 0,
    cache_tokens: |_| 0,
    requests: |_| None,
    version: |answers| version(answers).unwrap_or_default().to_owned(),
    speaks,
    own: Some(Dialect::Ollama),
};

fn version(answers: &Answers) -> Option<&str> {
    answers.json(&Question::OllamaVersion)?.get("version")?.as_str()
}

fn list<'a>(answers: &'a Answers, question: &Question) -> Option<&'a Vec<Value>> {
    answers.json(question)?.get("models")?.as_array()
}

/// A front page that says so and a version; behind a proxy one of the two with a list of what is in memory.
fn recognise(answers: &Answers) -> Option<(Question, String)> {
    let root =
        answers.get(&Question::Root).is_some_and(|answer| answer.text.starts_with("Ollama is running"));
    let version = version(answers);
    let ps = list(answers, &Question::OllamaPs).is_some();
    match (root, version) {
        (_, Some(version)) if root || ps => {
            Some((Question::OllamaVersion, format!("version {version}: Ollama")))
        }
        (true, None) if ps => Some((Question::Root, "Ollama is running".to_owned())),
        _ => None,
    }
}

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    let list = list(answers, &Question::OllamaTags).ok_or_else(|| answers.why_not(&Question::OllamaTags))?;
    Ok(list.iter().filter_map(|entry| model(answers, entry)).collect())
}

fn model(answers: &Answers, entry: &Value) -> Option<Model> {
    let name = name(entry)?;
    let show = answers.json(&Question::OllamaShow(name.to_owned()));
    let running = list(answers, &Question::OllamaPs).into_iter().flatten();
    let running = running.into_iter().find(|there| self::name(there) == Some(name));
    let told = [
        running.and_then(|running| running.get("context_length")),
        show.and_then(trained),
        entry.pointer("/details/context_length"),
    ];
    let capabilities = show.and_then(|show| show.get("capabilities")).or_else(|| entry.get("capabilities"));
    let capabilities = capabilities.and_then(Value::as_array).into_iter().flatten();
    Some(Model {
        name: name.to_owned(),
        resident: running.is_some(),
        context_length: told.into_iter().find_map(openai::tokens).unwrap_or(0),
        capabilities: capabilities.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("model").or_else(|| entry.get("name"))?.as_str()
}

/// `model_info["<architecture>.context_length"]`.
fn trained(show: &Value) -> Option<&Value> {
    let info = show.get("model_info")?;
    let architecture = info.get("general.architecture")?.as_str()?;
    info.get(format!("{architecture}.context_length"))
}

/// Its unknown paths answer 404 in plain text; an empty request may be refused because it names no model, with a
/// 404 too, then in JSON.
fn speaks(dialect: Dialect, answer: &Answer) -> bool {
    let refused = answer.is_refusal() || answer.status == 404;
    refused
        && match dialect {
            Dialect::Anthropic => openai::is_anthropic_error(answer),
            _ => openai::is_openai_error(answer),
        }
}
