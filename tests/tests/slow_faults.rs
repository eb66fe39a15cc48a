//! The official SDKs in front of every fault of the matrix: they raise where its table says so, and never return a
//! truncated answer as a whole one.

mod slow;

#[path = "matrix/faults.rs"]
#[allow(dead_code, reason = "the matrix uses all of it")]
mod faults;
#[path = "matrix/field.rs"]
#[allow(dead_code, reason = "the matrix uses all of it")]
mod field;
#[path = "matrix/seen.rs"]
#[allow(dead_code, reason = "the matrix uses all of it")]
mod seen;
#[path = "matrix/table.rs"]
#[allow(dead_code, reason = "the matrix uses all of it")]
mod table;
#[path = "matrix/ways.rs"]
#[allow(dead_code, reason = "the matrix uses all of it")]
mod ways;

use std::{fs, path::PathBuf, process::Command};

use faults::{Case, Named};
use field::{Field, model};
use futures_util::future::join_all;
use serde_json::{Value, json};
use slow::{Product, Running};
use table::Row;
use ways::{WAYS, Way};

const TABLE: &str = include_str!("matrix/table.md");
/// Those whose requests a server counts.
const COUNTED: [&str; 5] = ["500", "503", "529", "resets before the head", "an error as first element"];

/// The part of a cell that concerns a way: all of it, or the one that names it.
fn said<'a>(cell: &'a str, way: &str) -> &'a str {
    let parts = cell.split("; ").filter_map(|part| part.strip_suffix(')')?.split_once(" ("));
    let mut named = parts.filter(|(_, ways)| ways.split(", ").any(|name| name == way));
    named.next().map_or(cell, |(word, _)| word)
}

/// What a client of a way sees, with another backend or without.
fn told<'a>(row: &'a Row, way: &Way, another: bool) -> &'a str {
    match said(&row.another, way.name) {
        "unseen" if another => "whole",
        _ => said(&row.alone[way.family as usize], way.name),
    }
}

/// What a script is told of one request: where it goes, and what the table says that comes of it.
fn cells(named: &Named, field: &Field, rows: &[Row]) -> Vec<Value> {
    let mut cells = Vec::new();
    for (place, way) in WAYS.iter().enumerate() {
        // No SDK speaks Gemini's arrays.
        if way.name == "array" || named.case == Case::Long && !way.is_long() {
            continue;
        }
        let Some(row) = rows.iter().find(|row| row.fault == named.name && row.stream == way.stream) else {
            continue;
        };
        for another in [true, false] {
            cells.push(json!({
                "fault": named.name, "another": another, "base": field.plane.url, "model": model(place, another),
                "family": format!("{:?}", way.family).to_lowercase(), "way": way.name, "stream": way.stream,
                "told": told(row, way, another), "tokens": named.tokens(), "max": named.tokens_max(),
            }));
        }
    }
    cells
}

/// A field of each fault, and all their cells in a file.
async fn fields(names: Option<&[&str]>) -> (Vec<Field>, tempfile::NamedTempFile) {
    let rows = table::rows(TABLE);
    let wanted = |named: &Named| names.is_none_or(|names| names.contains(&named.name));
    let all: Vec<Named> = faults::all().into_iter().filter(wanted).collect();
    let fields = join_all(all.iter().map(Field::start)).await;
    let cells: Vec<Value> =
        all.iter().zip(&fields).flat_map(|(named, field)| cells(named, field, &rows)).collect();
    assert!(!cells.is_empty(), "the table has cells");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), json!(cells).to_string()).expect("the cells are written");
    (fields, file)
}

/// Runs a script over `file` while the fields go on serving.
async fn script(name: &'static str, file: &tempfile::NamedTempFile, more: &[&str]) {
    let mut args = vec!["--cells".to_owned(), file.path().display().to_string()];
    args.extend(more.iter().map(|more| (*more).to_owned()));
    let passed = tokio::task::spawn_blocking(move || slow::script(name, &args)).await.expect("no panic");
    assert!(passed, "{name} failed, see above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdks_for_python_raise_where_they_must() {
    let (fields, file) = fields(None).await;
    script("faults.py", &file, &[]).await;
    join_all(fields.into_iter().map(|field| field.plane.stop())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdks_for_node_raise_where_they_must() {
    let (fields, file) = fields(None).await;
    script("faults.mjs", &file, &[]).await;
    join_all(fields.into_iter().map(|field| field.plane.stop())).await;
}

/// With their usual retries: we have tried all there is, and a server that fails gets each request once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retries_of_the_sdks_bring_no_load() {
    for name in ["faults.py", "faults.mjs"] {
        let (fields, file) = fields(Some(&COUNTED)).await;
        script(name, &file, &["--retries"]).await;
        let mut asked = 0;
        for field in fields {
            for (place, way) in WAYS.iter().enumerate() {
                let count = field.asked(&field.bad, place, false);
                assert!(count <= 1, "{name}: {:?} {} was sent {count} times", way.family, way.name);
                asked += count;
            }
            field.plane.stop().await;
        }
        println!("{name}: {asked} requests failed, each sent once");
        assert!(asked >= COUNTED.len() * 10, "{name}: {asked} requests came");
    }
}

/// A server that others wrote to fail, and that judges who asks it.
#[test]
fn the_verdict_of_llmock_is_clean() {
    let folder = PathBuf::from(slow::setting("LLMB_SDK_PYTHON"));
    let mut command = Command::new(folder.with_file_name("llmock"));
    // Paced, so that it has not said all before it can notice that nobody reads on.
    command.args(["serve", "--host", "127.0.0.1", "--port", "0", "--stream-chunk-delay-ms", "30"]);
    let llmock = Running::start("llmock", &mut command);
    let url = llmock.until(|line| slow::url_after("running on", line));
    let urls = [url.clone(), format!("{url}/anthropic"), format!("{url}/gemini")];
    let product = Product::up("up-llmock", &urls);
    // It answers 200 to a request for responses that asks nothing, so probing does not take it for one that has them.
    let backends = product.backends();
    let openai = backends.iter().find(|backend| backend["url"] == url.as_str()).expect("it was added");
    let name = openai["name"].as_str().expect("a name");
    product.llmctl(&["backend", "update", name, "--dialect", "openai-chat", "--dialect", "openai-responses"]);
    let models = ["gpt-4o", "claude-haiku-4-5-20251001", "gemini-2.0-flash"];
    for model in models {
        let name = format!("timed-{model}").replace('_', "-");
        product.llmctl(&[
            "route",
            "add",
            &name,
            "--exact",
            model,
            "--to",
            model,
            "--deadline-between-tokens",
            "1s",
        ]);
    }
    let [openai, anthropic, gemini] = models;
    let mut args = vec!["--base", &product.base, "--llmock", &url, "--openai-model", openai];
    args.extend(["--anthropic-model", anthropic, "--gemini-model", gemini]);
    assert!(slow::script("llmock_verdict.py", &args), "llmock found something, see above");
}
