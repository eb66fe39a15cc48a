//! Resources as text for people: pure, from proto to lines.

pub mod change;
pub mod explain;
pub mod plane;
pub mod replay;
pub mod status;

use comfy_table::{Table, presets};
use proto::v1::{Backend, BackendStatus, Model, Route, Target, route};

use crate::{time, words};

/// Models named in a line of a list before the rest becomes a number.
const MODELS_SHOWN: usize = 3;

/// A table without lines: a row of headings, two spaces between columns, no blanks at line ends.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !headings.is_empty() {
        table.set_header(headings);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Text of servers and operators, harmless for a terminal: control characters are written out.
pub fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// The slots of a backend: "2", "1 (assumed)", or "-" before the first probe.
pub fn slots(backend: &Backend) -> String {
    match backend.status.as_ref() {
        Some(status) if status.slots > 0 && status.slots_assumed => format!("{} (assumed)", status.slots),
        Some(status) if status.slots > 0 => status.slots.to_string(),
        _ if backend.max_concurrency > 0 => backend.max_concurrency.to_string(),
        _ => "-".to_owned(),
    }
}

/// What to do about slots that nobody has told.
fn with_advice(slots: &str) -> String {
    slots.replace("(assumed)", "(assumed; set --max-concurrency)")
}

/// All backends, a line each.
pub fn backends(list: &[Backend]) -> String {
    if list.is_empty() {
        return "no backends; add one with: llmctl backend add URL\n".to_owned();
    }
    let row = |backend: &Backend| {
        let status = backend.status.clone().unwrap_or_default();
        vec![
            backend.name.clone(),
            kind(backend),
            words::state(backend).to_owned(),
            slots(backend),
            models_in_short(&status.models),
            backend.url.clone(),
            backend.revision.to_string(),
            status.reason,
        ]
    };
    let rows = list.iter().map(row).collect();
    table(&["NAME", "KIND", "STATE", "SLOTS", "MODELS", "URL", "REVISION", "REASON"], rows)
}

/// One backend with all that is known of it.
pub fn backend(backend: &Backend) -> String {
    let status = backend.status.clone().unwrap_or_default();
    let mut rows = vec![("name", backend.name.clone()), ("url", backend.url.clone())];
    rows.push(("state", words::state(backend).to_owned()));
    rows.extend(found_rows(backend, &status));
    rows.push(("priority", backend.priority.to_string()));
    let optional = [
        ("max-input-tokens", backend.max_input_tokens.to_string(), backend.max_input_tokens > 0),
        ("max-loaded-models", backend.max_loaded_models.to_string(), backend.max_loaded_models > 0),
        ("credential", backend.credential.clone(), !backend.credential.is_empty()),
        ("ca-file", backend.ca_file.clone(), !backend.ca_file.is_empty()),
        ("round trip", format!("{:.1} ms", status.probe_rtt_us as f64 / 1e3), status.probe_rtt_us > 0),
        ("revision", backend.revision.to_string(), backend.revision > 0),
    ];
    rows.extend(optional.into_iter().filter(|(_, _, shown)| *shown).map(|(key, value, _)| (key, value)));
    pairs(rows) + &models_of(&status.models)
}

/// What a probe found: kind, version, dialects, slots, models; or why nothing was.
pub fn found(backend: &Backend) -> String {
    let status = backend.status.clone().unwrap_or_default();
    let mut rows = found_rows(backend, &status);
    for (_, value) in rows.iter_mut().filter(|(key, _)| *key == "slots") {
        *value = with_advice(value);
    }
    pairs(rows) + &models_of(&status.models)
}

fn found_rows(backend: &Backend, status: &BackendStatus) -> Vec<(&'static str, String)> {
    let dialects: Vec<&str> = status.dialects().map(words::dialect).collect();
    let rows = [
        ("reason", status.reason.clone()),
        ("kind", kind(backend)),
        ("version", status.version.clone()),
        ("dialects", dialects.join(", ")),
        ("slots", slots(backend)),
    ];
    rows.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// The word for what a backend is: as found, else as set, else "-".
pub fn kind(backend: &Backend) -> String {
    let found = backend.status.as_ref().map_or(proto::v1::Kind::Unspecified, BackendStatus::kind);
    let known = if found == proto::v1::Kind::Unspecified { backend.kind() } else { found };
    words::kind(known).to_owned()
}

fn models_of(models: &[Model]) -> String {
    if models.is_empty() {
        return String::new();
    }
    let row = |model: &Model| {
        vec![
            model.name.clone(),
            if model.resident { "resident" } else { "" }.to_owned(),
            tokens(model.context_length),
            model.capabilities.join(", "),
        ]
    };
    format!("\n{}", table(&["MODEL", "LOADED", "CONTEXT", "CAPABILITIES"], models.iter().map(row).collect()))
}

/// The models of all backends by name: where each is, and where it is loaded.
pub fn models(backends: &[Backend], routes: &[Route]) -> String {
    let mut names: Vec<&str> = backends.iter().flat_map(models_at).map(|model| model.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return "no models; `llmctl backend list` shows the backends and what is wrong with them\n"
            .to_owned();
    }
    let row = |name: &&str| {
        let holders = backends.iter().filter_map(|backend| {
            models_at(backend).iter().find(|model| model.name == *name).map(|model| (backend, model))
        });
        let (mut at, mut loaded, mut context) = (Vec::new(), Vec::new(), 0);
        for (backend, model) in holders {
            at.push(match words::state(backend) {
                "healthy" => backend.name.clone(),
                state => format!("{} ({state})", backend.name),
            });
            if model.resident {
                loaded.push(backend.name.clone());
            }
            context = context.max(model.context_length);
        }
        vec![(*name).to_owned(), at.join(", "), loaded.join(", "), tokens(context)]
    };
    let routed = routes.iter().filter(|route| leads(route, backends)).filter_map(|route| {
        let Some(route::Match::Exact(name)) = &route.r#match else { return None };
        Some(vec![
            name.clone(),
            format!("route {} → {}", route.name, targets(route)),
            String::new(),
            "-".to_owned(),
        ])
    });
    let rows = names.iter().map(row).chain(routed).collect();
    table(&["MODEL", "BACKENDS", "LOADED AT", "CONTEXT"], rows)
}

/// Whether a backend serves a target of an exact route.
pub fn leads(route: &Route, backends: &[Backend]) -> bool {
    let Some(route::Match::Exact(asked)) = &route.r#match else { return false };
    route.targets.iter().any(|target| {
        let wanted = if target.model.is_empty() { asked } else { &target.model };
        let named = |backend: &&Backend| target.backend.is_empty() || target.backend == backend.name;
        backends.iter().filter(named).any(|one| models_at(one).iter().any(|model| model.name == *wanted))
    })
}

/// All routes in the order in which they are tried.
pub fn routes(list: &[Route]) -> String {
    if list.is_empty() {
        return "no routes: each model is asked for by its own name\n".to_owned();
    }
    let row = |route: &Route| {
        vec![
            route.name.clone(),
            matcher(route),
            targets(route),
            words::policy(route.policy()).to_owned(),
            words::class(route.class()).to_owned(),
            route.precedence.to_string(),
            deadlines(route),
            route.revision.to_string(),
        ]
    };
    let heads = ["NAME", "MATCHES", "TO", "POLICY", "CLASS", "PRECEDENCE", "DEADLINES", "REVISION"];
    table(&heads, list.iter().map(row).collect())
}

/// The deadlines that a route sets, such as "connect 2s, total 1h".
pub fn deadlines(route: &Route) -> String {
    let set = route.deadlines.unwrap_or_default();
    let named = [
        ("connect", set.connect),
        ("first-token", set.first_token),
        ("between-tokens", set.between_tokens),
        ("total", set.total),
    ];
    let told: Vec<String> = named
        .iter()
        .filter_map(|(name, span)| Some(format!("{name} {}", time::shown(span.as_ref()?))))
        .collect();
    if told.is_empty() { "default".to_owned() } else { told.join(", ") }
}

/// What a route matches: "gpt-4o", or "/^(.*)-latest$/" for a pattern.
pub fn matcher(route: &Route) -> String {
    match &route.r#match {
        Some(route::Match::Exact(name)) => name.clone(),
        Some(route::Match::Pattern(pattern)) => format!("/{pattern}/"),
        None => "-".to_owned(),
    }
}

/// The targets of a route, with their weights: "qwen3:8b (95), qwen4:8b (5)".
pub fn targets(route: &Route) -> String {
    let one = |to: &Target| match to.weight {
        Some(weight) => format!("{} ({weight})", target(to)),
        None => target(to),
    };
    route.targets.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A target as `--to` takes it.
pub fn target(target: &Target) -> String {
    match (target.model.as_str(), target.backend.as_str()) {
        (model, "") if model.contains('@') => format!("{model}@"),
        (model, "") => model.to_owned(),
        (model, backend) => format!("{model}@{backend}"),
    }
}

fn models_at(backend: &Backend) -> &[Model] {
    backend.status.as_ref().map_or(&[], |status| &status.models)
}

fn models_in_short(models: &[Model]) -> String {
    let shown: Vec<&str> = models.iter().take(MODELS_SHOWN).map(|model| model.name.as_str()).collect();
    match models.len() {
        0 => "-".to_owned(),
        count if count > MODELS_SHOWN => format!("{} +{}", shown.join(", "), count - MODELS_SHOWN),
        _ => shown.join(", "),
    }
}

fn tokens(count: u32) -> String {
    if count == 0 { "-".to_owned() } else { count.to_string() }
}

fn pairs(rows: Vec<(&'static str, String)>) -> String {
    table(&[], rows.into_iter().map(|(key, value)| vec![key.to_owned(), value]).collect())
}

#[cfg(test)]
mod tests;
