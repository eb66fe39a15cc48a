//! Answers that need no backend: model lists, liveness, and everything that is not a call.

use std::collections::BTreeMap;

use http::Response;
use wire::{Dialect, Fault, ListStyle, Listed, Target, list};

use super::{
    Body, Shared,
    target::{Inquiry, fault, json, typed},
};
use crate::{config::Snapshot, route::Candidate};

/// Characters of a path that an error repeats.
const PATH_CHARS_MAX: usize = 200;
/// What clients of Ollama expect at its root.
const ROOT: &str = "Ollama is running";

/// Answers what is not a call.
pub fn answer(shared: &Shared, inquiry: &Inquiry, target: &Target, path: &str) -> Response<Body> {
    let snapshot = shared.snapshot.load();
    match target {
        Target::Models { style } => json(200, list::models(&listed(&snapshot), *style)),
        Target::Model { id, style } => one(&snapshot, id, *style, inquiry),
        Target::Tags => json(200, list::tags(&listed(&snapshot))),
        Target::Ps => json(200, list::ps(&listed(&snapshot))),
        Target::OllamaVersion => json(200, list::ollama_version()),
        Target::LmStudioModels => json(200, list::lmstudio(&listed(&snapshot))),
        Target::Root => typed(200, "text/plain; charset=utf-8", ROOT),
        Target::Live => typed(200, "text/plain; charset=utf-8", "ok\n"),
        Target::Ready => ready(&snapshot),
        Target::UpgradeRequired => {
            let what = "WebSocket; use POST".to_owned();
            let body = Fault::Unsupported { what }.body(Dialect::OpenaiResponses, &inquiry.id);
            json(426, body)
        }
        Target::MethodNotAllowed { dialect, allow } => {
            fault(&Fault::Method { allow: (*allow).to_owned() }, *dialect, &inquiry.id)
        }
        Target::Unsupported { dialect } => {
            fault(&Fault::Unsupported { what: shown(path) }, *dialect, &inquiry.id)
        }
        Target::Unknown { dialect } => {
            fault(&Fault::UnknownPath { path: shown(path) }, *dialect, &inquiry.id)
        }
        Target::Call { .. } => fault(&Fault::Internal, Dialect::OpenaiChat, &inquiry.id),
    }
}

/// A path as an error shows it.
fn shown(path: &str) -> String {
    let mut shown: String = path.chars().take(PATH_CHARS_MAX).collect();
    if shown.len() < path.len() {
        shown.push('…');
    }
    shown
}

/// Ready to serve: a snapshot with at least one backend that can take work.
pub fn ready(snapshot: &Snapshot) -> Response<Body> {
    let usable = snapshot.backends.iter().filter(|backend| backend.up()).count();
    let owner = snapshot.fleet.owner;
    let status = if usable > 0 && owner && !snapshot.draining { 200 } else { 503 };
    let word = match (owner, snapshot.draining) {
        (false, _) => "; spare: another data plane holds the slots",
        (true, true) => "; drains",
        (true, false) => "",
    };
    typed(status, "text/plain; charset=utf-8", format!("{usable} usable backends{word}\n"))
}

/// The union of what usable backends serve, and the exact routes that lead to them, in order of name.
fn listed(snapshot: &Snapshot) -> Vec<Listed> {
    let mut models: BTreeMap<String, Listed> = BTreeMap::new();
    for backend in snapshot.backends.iter().filter(|backend| backend.up()) {
        for model in &backend.models {
            let row = models.entry(model.name.to_string()).or_insert_with(|| Listed {
                id: model.name.to_string(),
                owned_by: backend.name.to_string(),
                created_s: 0,
                context_length: model.context_length,
                resident: false,
                capabilities: Vec::new(),
            });
            row.resident |= model.resident;
            row.context_length = row.context_length.max(model.context_length);
            for capability in &model.capabilities {
                if !row.capabilities.contains(capability) {
                    row.capabilities.push(capability.clone());
                }
            }
        }
    }
    for alias in snapshot.table.aliases() {
        let Some(candidate) = lead(snapshot, alias) else { continue };
        let model = candidate.backend.models.iter().find(|model| model.name == candidate.model);
        models.entry(alias.to_owned()).or_insert_with(|| Listed {
            id: alias.to_owned(),
            owned_by: candidate.backend.name.to_string(),
            created_s: 0,
            context_length: model.and_then(|model| model.context_length),
            resident: model.is_some_and(|model| model.resident),
            capabilities: model.map(|model| model.capabilities.clone()).unwrap_or_default(),
        });
    }
    models.into_values().collect()
}

/// The first usable candidate behind an alias, in any dialect.
fn lead(snapshot: &Snapshot, alias: &str) -> Option<Candidate> {
    Dialect::ALL
        .iter()
        .filter_map(|dialect| snapshot.table.candidates(alias, *dialect).ok())
        .flat_map(|found| found.candidates)
        .find(|candidate| candidate.backend.up())
}

/// What Ollama would show of a model that other servers have.
pub fn show(snapshot: &Snapshot, id: &str) -> Result<Response<Body>, Fault> {
    let all = listed(snapshot);
    let unknown = || Fault::UnknownModel { model: id.to_owned(), hint: None };
    Ok(json(200, list::show(named(&all, id).ok_or_else(unknown)?)))
}

/// The row of this name, with or without `:latest`.
fn named<'a>(all: &'a [Listed], id: &str) -> Option<&'a Listed> {
    let latest = format!("{id}:latest");
    all.iter().find(|row| row.id == id).or_else(|| all.iter().find(|row| row.id == latest))
}

fn one(snapshot: &Snapshot, id: &str, style: ListStyle, inquiry: &Inquiry) -> Response<Body> {
    let all = listed(snapshot);
    match named(&all, id) {
        Some(row) => json(200, list::model(row, style)),
        None => {
            let dialect = match style {
                ListStyle::Anthropic => Dialect::Anthropic,
                ListStyle::Gemini => Dialect::Gemini,
                _ => Dialect::OpenaiChat,
            };
            fault(&Fault::UnknownModel { model: id.to_owned(), hint: None }, dialect, &inquiry.id)
        }
    }
}
