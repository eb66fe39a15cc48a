//! What a change changed: before → after, with revisions.

use std::collections::BTreeSet;

use proto::v1::{AppliedResource, Backend, Route, Scheduling, applied_resource::Outcome};

use super::{deadlines, matcher, plain, table, targets};
use crate::words;

/// The fields of a backend that an operator sets, by the names of the flags.
fn backend_fields(backend: &Backend) -> Vec<(&'static str, String)> {
    let or = |value: String, unset: &str| match value.as_str() {
        "" | "0" | "-" => unset.to_owned(),
        _ => value,
    };
    let dialects: Vec<&str> = backend.dialects().map(words::dialect).collect();
    vec![
        ("url", backend.url.clone()),
        ("kind", or(words::kind(backend.kind()).to_owned(), "auto")),
        ("max-concurrency", or(backend.max_concurrency.to_string(), "auto")),
        ("priority", backend.priority.to_string()),
        ("max-input-tokens", or(backend.max_input_tokens.to_string(), "none")),
        ("max-loaded-models", or(backend.max_loaded_models.to_string(), "auto")),
        ("credential", or(backend.credential.clone(), "none")),
        ("ca-file", or(backend.ca_file.clone(), "none")),
        ("draining", if backend.draining { "yes" } else { "no" }.to_owned()),
        ("dialects", or(dialects.join(", "), "auto")),
    ]
}

fn route_fields(route: &Route) -> Vec<(&'static str, String)> {
    vec![
        ("matches", matcher(route)),
        ("to", targets(route)),
        ("policy", words::policy(route.policy()).to_owned()),
        ("class", words::class(route.class()).to_owned()),
        ("precedence", route.precedence.to_string()),
        ("deadlines", deadlines(route)),
    ]
}

/// The figures that differ, by their names in a file.
pub fn scheduling(before: &Scheduling, after: &Scheduling) -> Vec<String> {
    let fields = |set: &Scheduling| proto::to_json_value("Scheduling", set);
    let (before, after) = (fields(before), fields(after));
    let names = [&before, &after].into_iter().filter_map(|set| set.as_object()).flat_map(|set| set.keys());
    let names: BTreeSet<&String> = names.filter(|name| *name != "revision").collect();
    let shown = |set: &serde_json::Value, name: &str| match &set[name] {
        serde_json::Value::Null => "default".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let named = names.into_iter().map(|name| (name, shown(&before, name), shown(&after, name)));
    let changed = named.filter(|(_, before, after)| before != after);
    changed.map(|(name, before, after)| plain(&format!("{name}: {before} → {after}"))).collect()
}

fn differences(before: &[(&'static str, String)], after: &[(&'static str, String)]) -> Vec<String> {
    let pairs = before.iter().zip(after).filter(|(before, after)| before.1 != after.1);
    pairs.map(|((field, before), (_, after))| plain(&format!("{field}: {before} → {after}"))).collect()
}

/// The fields in which two states of one backend differ.
pub fn backend(before: &Backend, after: &Backend) -> Vec<String> {
    differences(&backend_fields(before), &backend_fields(after))
}

/// The fields in which two states of one route differ.
pub fn route(before: &Route, after: &Route) -> Vec<String> {
    differences(&route_fields(before), &route_fields(after))
}

/// The echo of a change to one backend.
pub fn backend_echo(before: &Backend, after: &Backend) -> String {
    let name = plain(&after.name);
    let fields = backend(before, after);
    if fields.is_empty() {
        return format!("backend {name} unchanged (revision {})\n", after.revision);
    }
    let lines: String = fields.iter().map(|field| format!("  {field}\n")).collect();
    format!("backend {name} changed (revision {} → {})\n{lines}", before.revision, after.revision)
}

/// The echo of an addition: "backend box added (revision 3)".
pub fn added(resource: &str, name: &str, revision: u64) -> String {
    format!("{resource} {} added (revision {revision})\n", plain(name))
}

/// The echo of a deletion; the new revision is the configuration's.
pub fn deleted(resource: &str, name: &str, before: u64, after: u64) -> String {
    format!("{resource} {} deleted (revision {before} → {after})\n", plain(name))
}

/// What applying a file did, or would do: a line each, with the fields that changed.
pub fn applied(resources: &[AppliedResource], changes: impl Fn(&AppliedResource) -> Vec<String>) -> String {
    let row = |resource: &AppliedResource| {
        let outcome = match resource.outcome() {
            Outcome::Created => "created",
            Outcome::Updated => "updated",
            Outcome::Unchanged => "unchanged",
            Outcome::Unspecified => "-",
        };
        vec![
            resource.resource.clone(),
            resource.name.clone(),
            outcome.to_owned(),
            changes(resource).join("; "),
        ]
    };
    table(&["RESOURCE", "NAME", "OUTCOME", "CHANGES"], resources.iter().map(row).collect())
}
