//! README's table of invariants: each row names a test that exists.

use crate::source::Source;

/// What is wrong with the tables below headings that speak of invariants. Names stand in backticks in the last column:
/// a file of the tree, or a test, with or without its file.
pub fn invariants(readme: &str, sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut inside = false;
    for (line, content) in readme.lines().enumerate() {
        if content.starts_with('#') {
            inside = content.to_lowercase().contains("invariant");
        }
        let separator = content.chars().all(|c| "|-: ".contains(c));
        let heading = readme
            .lines()
            .nth(line + 1)
            .is_some_and(|next| next.starts_with("|-") || next.starts_with("| -"));
        if !inside || !content.starts_with('|') || separator || heading {
            continue;
        }
        let cell = content.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            faults.push(format!("README.md:{}: this invariant names no test", line + 1));
        }
        let unknown = names.iter().filter(|name| !exists(name, sources));
        faults.extend(unknown.map(|name| format!("README.md:{}: there is no test {name}", line + 1)));
    }
    faults
}

fn exists(name: &str, sources: &[Source]) -> bool {
    let path = name.split("::").next().unwrap_or(name);
    let function = name.rsplit("::").next().unwrap_or(name).trim_end_matches("()");
    let is_file = |name: &str| name.contains('/') || name.contains('.');
    let mut places = sources
        .iter()
        .filter(|source| !is_file(path) || source.path == path || source.path.ends_with(&format!("/{path}")));
    if is_file(function) {
        return places.next().is_some();
    }
    places.any(|source| source.functions().iter().any(|found| found.is_test && found.name == function))
}
