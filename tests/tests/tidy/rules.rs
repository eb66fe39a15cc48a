//! The rules over one Rust file: size, header, names, waits, ignored tests.

use crate::source::Source;

/// Lines of a file at most.
pub const FILE_LINES_MAX: usize = 400;
/// Lines of a function at most, from `fn` to the closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"];

pub fn file_size(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, at most {FILE_LINES_MAX} are allowed", source.path)]
}

pub fn function_size(source: &Source) -> Vec<String> {
    let long = source.functions().into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    long.map(|function| {
        format!(
            "{}:{}: fn {} has {} lines, at most {FUNCTION_LINES_MAX} are allowed",
            source.path, function.line, function.name, function.lines
        )
    })
    .collect()
}

pub fn header(source: &Source) -> Vec<String> {
    match source.text.lines().next() {
        Some(line) if line.starts_with("//! ") && line.len() > "//! ".len() => Vec::new(),
        _ => vec![format!("{}: the first line must be `//!` and say what the file is", source.path)],
    }
}

pub fn module_name(source: &Source) -> Vec<String> {
    let file = source.path.trim_end_matches(".rs").rsplit('/').map(|part| (part, 0)).take(2);
    let words = source.words();
    let inner =
        words.windows(2).filter(|pair| pair[0].text == "mod").map(|pair| (pair[1].text, pair[1].line));
    let names = file.chain(inner).filter(|(name, _)| EMPTY_NAMES.contains(name));
    names
        .map(|(name, line)| format!("{}:{line}: {name} says nothing; name what is inside", source.path))
        .collect()
}

pub fn ignored_test(source: &Source) -> Vec<String> {
    let attributes = source.code.match_indices("#[ignore").map(|(at, _)| at);
    let bare = attributes.filter(|at| {
        let attribute = &source.text[*at..].lines().next().unwrap_or_default();
        !attribute.strip_prefix("#[ignore = \"").is_some_and(|reason| dated(reason.trim_end_matches("\"]")))
    });
    bare.map(|at| {
        let line = source.code[..at].matches('\n').count() + 1;
        format!("{}:{line}: #[ignore] wants a date and a reason: \"2026-11-21: why\"", source.path)
    })
    .collect()
}

/// `2026-11-21: why`
fn dated(reason: &str) -> bool {
    let shape: String = reason.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.starts_with("0000-00-00: ") && reason.len() >= 20
}

/// No test waits by the clock; the simulated server paces itself, as real ones do.
pub fn sleep(source: &Source) -> Vec<String> {
    if source.path.starts_with("tests/llmsim/src/") {
        return Vec::new();
    }
    let is_test = source.path.starts_with("tests/")
        || source.path.contains("/tests/")
        || source.path.ends_with("/tests.rs");
    let blocks = source.test_lines();
    let words = source.words();
    let sleeps = words.iter().filter(|word| {
        ["sleep", "sleep_until", "sleep_ms"].contains(&word.text)
            && (word.behind.starts_with('(') || word.in_use)
            && !word.before.ends_with("fn ")
            && (is_test || blocks.iter().any(|block| block.contains(&word.line)))
    });
    sleeps
        .map(|word| {
            format!(
                "{}:{}: a test sleeps; inject time, or wait for an event with a deadline",
                source.path, word.line
            )
        })
        .collect()
}

/// Paths of one machine, in any text file.
pub fn machine_path(path: &str, text: &str) -> Vec<String> {
    // In pieces, so that this file passes its own rule.
    let roots = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/tm", "p/"]].map(|pieces| pieces.concat());
    let mut faults = Vec::new();
    for (line, content) in text.lines().enumerate() {
        for root in &roots {
            let starts = content.match_indices(root.as_str()).map(|(at, _)| &content[..at]);
            if starts
                .into_iter()
                .any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c)))
            {
                faults.push(format!("{path}:{}: {root} is a path of one machine", line + 1));
            }
        }
    }
    faults
}
