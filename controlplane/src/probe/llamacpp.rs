//! llama.cpp's llama-server, with one model or as a router.

use serde_json::Value;
use wire::Dialect;

use super::{
    Sort,
    answer::{Answer, Answers, Question},
    openai,
};
use crate::model::{Kind, Model};

pub static SORT: Sort = Sort {
    kind: Kind::Llamacpp,
    cheap: &[Question::Models, Question::Props, Question::Slots],
    recognise,
    models,
    slots,
    cache_tokens: |_| 0,
    requests,
    version,
    speaks,
    own: None,
};

fn recognise(answers: &Answers) -> Option<(Question, String)> {
    if let Some(props) = answers.json(&Question::Props) {
        let settings = props.get("default_generation_settings").is_some();
        let slots = props.get("total_slots").and_then(Value::as_u64);
        if let Some(slots) = slots.filter(|_| settings || props.get("build_info").is_some()) {
            return Some((Question::Props, format!("total_slots={slots}: llama.cpp")));
        }
        if settings && props.get("role").and_then(Value::as_str) == Some("router") {
            return Some((Question::Props, "role=router: llama.cpp".to_owned()));
        }
    }
    let owned = |entry: &Value| entry.get("owned_by").and_then(Value::as_str) == Some("llamacpp");
    let list = openai::list(answers).filter(|list| list.iter().any(owned));
    if list.is_some() {
        return Some((Question::Models, "owned_by=llamacpp: llama.cpp".to_owned()));
    }
    let server = answers.get(&Question::Props).or_else(|| answers.get(&Question::Models))?;
    (server.server == "llama.cpp").then(|| (Question::Props, "header server: llama.cpp".to_owned()))
}

fn models(answers: &Answers) -> Result<Vec<Model>, String> {
    let list = openai::list(answers).ok_or_else(|| answers.why_not(&Question::Models))?;
    let props = answers.json(&Question::Props);
    let mut models = Vec::new();
    for entry in list {
        // Only a router says whether a model is loaded; a single model always is.
        let state = entry.pointer("/status/value").and_then(Value::as_str);
        let resident = state.is_none_or(|state| state == "loaded");
        let Some(mut model) = openai::model(entry, resident) else { continue };
        let told = [entry.pointer("/meta/n_ctx"), entry.pointer("/meta/n_ctx_train")];
        let single = props.and_then(|props| props.pointer("/default_generation_settings/n_ctx"));
        let told = told.into_iter().chain([single.filter(|_| state.is_none())]);
        model.context_length = told.filter_map(openai::tokens).find(|n| *n > 0).unwrap_or(0);
        model.capabilities = capabilities(answers, &model.name, state.is_none());
        let aliases = entry.get("aliases").and_then(Value::as_array).into_iter().flatten();
        let aliases = aliases.filter_map(Value::as_str).filter(|alias| *alias != model.name);
        models.extend(aliases.map(|alias| Model { name: alias.to_owned(), ..model.clone() }));
        models.push(model);
    }
    Ok(models)
}

fn capabilities(answers: &Answers, name: &str, single: bool) -> Vec<String> {
    let twins = answers.json(&Question::Models).and_then(|json| json.get("models")?.as_array());
    let twin =
        twins.into_iter().flatten().find(|twin| twin.get("name").and_then(Value::as_str) == Some(name));
    let told = twin.and_then(|twin| twin.get("capabilities")?.as_array()).into_iter().flatten();
    let mut all: Vec<String> = told.filter_map(Value::as_str).map(str::to_owned).collect();
    let props = answers.json(&Question::Props).filter(|_| single);
    let mut add = |pointer: &str, word: &str| {
        let yes = props.and_then(|props| props.pointer(pointer)).and_then(Value::as_bool) == Some(true);
        if yes && !all.iter().any(|there| there == word) {
            all.push(word.to_owned());
        }
    };
    add("/chat_template_caps/supports_tools", "tools");
    add("/modalities/vision", "vision");
    all
}

fn slots(answers: &Answers) -> u32 {
    let props = answers.json(&Question::Props);
    openai::tokens(props.and_then(|props| props.get("total_slots"))).unwrap_or(0)
}

/// Of a server with one model; one that waits for a slot shows nowhere.
fn requests(answers: &Answers) -> Option<u32> {
    let slots = answers.json(&Question::Slots)?.as_array()?;
    let busy = slots.iter().filter(|slot| slot.get("is_processing").and_then(Value::as_bool) == Some(true));
    u32::try_from(busy.count()).ok().filter(|_| !slots.is_empty())
}

fn version(answers: &Answers) -> String {
    let props = answers.json(&Question::Props);
    props.and_then(|props| props.get("build_info")?.as_str()).unwrap_or_default().to_owned()
}

/// It answers an empty `/v1/messages` with 500 and a body that names the missing field; an unknown path with its own
/// `not_found_error`, and what this model cannot do with 501.
fn speaks(_: Dialect, answer: &Answer) -> bool {
    let kind = answer.error().and_then(|error| error.get("type")?.as_str());
    let names_messages = || {
        let message = answer.error().and_then(|error| error.get("message")?.as_str());
        message.is_some_and(|message| message.contains("'messages'"))
    };
    match answer.status {
        400 | 422 => kind.is_some_and(|kind| kind != "not_found_error"),
        500 => kind == Some("server_error") && names_messages(),
        _ => false,
    }
}
