//! From answers to a judgement: what a server is and serves, or why it is nothing. Pure.

use wire::Dialect;

use super::{
    SORTS, Sort,
    answer::{Answer, Answers, Question},
    gemini, sglang, sort,
};
use crate::model::{Backend, Kind, Model, observed::MODELS_MAX};

/// Models of an Ollama that are asked about one by one, at most.
const SHOWN_MAX: usize = 64;
/// Bytes of a capability or version that are kept at most.
const WORD_BYTES_MAX: usize = 64;
/// Bytes of a model name at most; longer ones are left out.
const MODEL_BYTES_MAX: usize = 256;
/// Capabilities of one model at most.
const CAPABILITIES_MAX: usize = 16;

/// What a server was found to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// In order, each once.
    pub dialects: Vec<Dialect>,
    /// In order of name, each once.
    pub models: Vec<Model>,
    /// Slots as it tells; 0: it does not.
    pub slots: u32,
    /// Tokens that its prompt cache holds, as it tells; 0: it does not.
    pub cache_tokens: u32,
    /// Requests that it has at work or waiting; `None`: it does not tell.
    pub requests: Option<u32>,
    /// Its version; may be empty.
    pub version: String,
}

/// The outcome of a full identification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What it is, or why it is nothing, in words.
    pub finding: Result<Finding, String>,
    /// Every question and how its answer was judged.
    pub evidence: Vec<String>,
}

/// What else must be asked before [`identify`]: what Ollama tells only of one model at a time, and vLLM and SGLang on
/// pages of their own.
#[must_use]
pub fn further(backend: &Backend, answers: &Answers) -> Vec<Question> {
    match choose(backend, answers) {
        Some((sort, _)) if sort.kind == Kind::Ollama => (sort.models)(answers)
            .unwrap_or_default()
            .into_iter()
            .take(SHOWN_MAX)
            .map(|model| Question::OllamaShow(model.name))
            .collect(),
        Some((sort, _)) if sort.kind == Kind::Vllm => vec![Question::Metrics],
        Some((sort, _)) if sort.kind == Kind::Sglang => sglang::FURTHER.to_vec(),
        _ => Vec::new(),
    }
}

/// How a data plane of this product names itself in the `server` header of its own answers.
const BALANCER_SERVER: &str = "llm-balancer";
const BALANCER: &str = "an LLM Balancer itself: behind another it could be asked to forward to itself";

/// Judges the answers of a full identification.
#[must_use]
pub fn identify(backend: &Backend, answers: &Answers) -> Verdict {
    let chosen = choose(backend, answers);
    let finding = match &chosen {
        _ if is_balancer(answers) => Err(BALANCER.to_owned()),
        Some((sort, _)) => read(backend, sort, answers),
        None => Err(nothing(backend, answers)),
    };
    Verdict { evidence: evidence(chosen, answers), finding }
}

/// What is asked at each interval of a backend of that kind.
#[must_use]
pub fn cheap(kind: Kind) -> &'static [Question] {
    sort(kind).cheap
}

/// Judges the answers of a cheap check of a backend that was `before`.
///
/// # Errors
/// Why it is not well, in words.
pub fn refresh(backend: &Backend, before: &Finding, answers: &Answers) -> Result<Finding, String> {
    let sort = sort(before.kind);
    let mut models = (sort.models)(answers).map_err(|why| trouble(backend, answers).unwrap_or(why))?;
    for model in &mut models {
        // What only the full identification asks is kept from it.
        if let Some(known) = before.models.iter().find(|known| known.name == model.name) {
            if model.capabilities.is_empty() {
                model.capabilities.clone_from(&known.capabilities);
            }
            if model.context_length == 0 {
                model.context_length = known.context_length;
            }
        }
    }
    let version = (sort.version)(answers);
    Ok(Finding {
        kind: before.kind,
        dialects: before.dialects.clone(),
        models: tidy(models),
        slots: (sort.slots)(answers),
        cache_tokens: match (sort.cache_tokens)(answers) {
            0 => before.cache_tokens,
            told => told,
        },
        requests: (sort.requests)(answers),
        version: if version.is_empty() { before.version.clone() } else { cut(&version) },
    })
}

/// Whether a backend has changed so that it must be identified anew: other models, slots or version.
#[must_use]
pub fn changed(before: &Finding, now: &Finding) -> bool {
    let names = |finding: &Finding| finding.models.iter().map(|model| model.name.clone()).collect::<Vec<_>>();
    names(before) != names(now) || before.slots != now.slots || before.version != now.version
}

/// One that forwards to itself would send a request round and round.
fn is_balancer(answers: &Answers) -> bool {
    answers.0.values().flatten().any(|answer| answer.server.starts_with(BALANCER_SERVER))
}

fn choose(backend: &Backend, answers: &Answers) -> Option<(&'static Sort, Option<(Question, String)>)> {
    let named = backend.kind.or_else(|| by_host(backend));
    if let Some(kind) = named {
        let sort = sort(kind);
        return Some((sort, (sort.recognise)(answers)));
    }
    SORTS.into_iter().find_map(|sort| Some((sort, Some((sort.recognise)(answers)?))))
}

/// Hosts that speak several dialects' lists; their own is meant.
fn by_host(backend: &Backend) -> Option<Kind> {
    match backend.url.host() {
        "api.anthropic.com" => Some(Kind::Anthropic),
        "generativelanguage.googleapis.com" => Some(Kind::Gemini),
        "api.openai.com" => Some(Kind::Openai),
        _ => None,
    }
}

fn read(backend: &Backend, sort: &Sort, answers: &Answers) -> Result<Finding, String> {
    let models = (sort.models)(answers).map_err(|why| {
        let trouble = trouble(backend, answers);
        trouble.unwrap_or_else(|| format!("not a usable {} server: {why}", sort.kind.name()))
    })?;
    let mut dialects: Vec<Dialect> = super::answer::EMPTY
        .into_iter()
        .filter(|dialect| {
            let answer = answers.get(&Question::Empty(*dialect));
            answer.is_some_and(|answer| (sort.speaks)(*dialect, answer))
        })
        .collect();
    dialects.extend(sort.own);
    if gemini::list(answers).is_some() {
        dialects.push(Dialect::Gemini);
    }
    dialects.sort_unstable();
    dialects.dedup();
    if dialects.is_empty() && backend.dialects.is_empty() {
        let trouble = trouble(backend, answers);
        return Err(trouble.unwrap_or_else(|| {
            format!(
                "{}, but no dialect answers an empty request as it should; name them in dialects",
                sort.kind.name()
            )
        }));
    }
    let (slots, version) = ((sort.slots)(answers), cut(&(sort.version)(answers)));
    let cache_tokens = (sort.cache_tokens)(answers);
    let requests = (sort.requests)(answers);
    Ok(Finding { kind: sort.kind, dialects, models: tidy(models), slots, cache_tokens, requests, version })
}

/// Models in order of name, each once, within bounds: what a server says is not trusted to be small.
fn tidy(mut models: Vec<Model>) -> Vec<Model> {
    models.retain(|model| {
        !model.name.is_empty()
            && model.name.len() <= MODEL_BYTES_MAX
            && !model.name.chars().any(char::is_control)
    });
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models.dedup_by(|a, b| a.name == b.name);
    models.truncate(MODELS_MAX);
    for model in &mut models {
        model.capabilities.truncate(CAPABILITIES_MAX);
        model.capabilities.iter_mut().for_each(|word| *word = cut(word));
    }
    models
}

fn cut(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(WORD_BYTES_MAX).collect()
}

/// Trouble that says more than "no list of models": loading, locked, unreachable, late.
fn trouble(backend: &Backend, answers: &Answers) -> Option<String> {
    let told: Vec<(&Question, &Answer)> =
        answers.0.iter().filter_map(|(question, answer)| Some((question, answer.as_ref().ok()?))).collect();
    if told.is_empty() {
        return answers.0.values().find_map(|answer| answer.as_ref().err()).map(ToString::to_string);
    }
    if told.iter().any(|(_, answer)| is_loading(answer)) {
        return Some("loading its model".to_owned());
    }
    if let Some((question, answer)) = told.iter().find(|(_, answer)| is_locked(answer)) {
        let (label, status) = (question.label(), answer.status);
        return Some(match &backend.credential {
            Some(credential) => format!("refuses the credential {credential} ({label}: {status})"),
            None => format!("wants a credential ({label}: {status}): name it by --credential"),
        });
    }
    let lists = [Question::Models, Question::OllamaTags, Question::ModelsAnthropic, Question::ModelsGemini];
    let failed = lists.iter().find_map(|question| answers.0.get(question)?.as_ref().err());
    failed.filter(|_| told.iter().all(|(_, answer)| answer.status >= 500)).map(ToString::to_string)
}

fn is_loading(answer: &Answer) -> bool {
    let kind = answer.error().and_then(|error| error.get("type")?.as_str());
    answer.status == 503 && kind == Some("unavailable_error")
}

/// Gemini says a bad key with 400 and a reason of its own.
fn is_locked(answer: &Answer) -> bool {
    let details = answer.error().and_then(|error| error.get("details")?.as_array()).into_iter().flatten();
    let mut reasons = details.filter_map(|detail| detail.get("reason")?.as_str());
    answer.is_locked() || reasons.any(|reason| reason == "API_KEY_INVALID")
}

fn nothing(backend: &Backend, answers: &Answers) -> String {
    if let Some(trouble) = trouble(backend, answers) {
        return trouble;
    }
    let told: Vec<&Answer> = answers.0.values().filter_map(|answer| answer.as_ref().ok()).collect();
    if told.iter().all(|answer| answer.is_html()) {
        return "not a model server: it answers everything with an HTML page".to_owned();
    }
    format!("not a model server that is known: {}", answers.why_not(&Question::Models))
}

fn evidence(chosen: Option<(&Sort, Option<(Question, String)>)>, answers: &Answers) -> Vec<String> {
    let mut lines = Vec::new();
    for (question, answer) in &answers.0 {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                lines.push(format!("{}: {failure}", question.label()));
                continue;
            }
        };
        let note = match (question, &chosen) {
            (Question::Empty(dialect), Some((sort, _))) => {
                let speaks = (sort.speaks)(*dialect, answer);
                format!(": {} {}", if speaks { "speaks" } else { "not" }, dialect.name())
            }
            (question, Some((_, Some((decisive, note))))) if question == decisive => format!(", {note}"),
            _ if answer.is_html() => ", an HTML page".to_owned(),
            _ => String::new(),
        };
        lines.push(format!("{}: {}{note}", question.label(), answer.status));
    }
    lines
}

#[cfg(test)]
mod tests;
