//! The house rules, held over the whole tree; and proof that each of them bites.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/readme.rs"]
mod readme;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::{fs, path::Path};

use source::Source;

type Rule = fn(&Source) -> Vec<String>;

const RULES: [(&str, Rule); 7] = [
    ("file size", rules::file_size),
    ("function size", rules::function_size),
    ("header", rules::header),
    ("module names", rules::module_name),
    ("ignored tests", rules::ignored_test),
    ("sleeping tests", rules::sleep),
    ("imports", imports::imports),
];

/// Folders that are not ours, or not text.
const SKIPPED: [&str; 7] = ["target", ".git", "node_modules", "__pycache__", ".venv", "fixtures", "corpus"];
/// Files in which a path of one machine would travel.
const TEXT: [&str; 14] =
    ["rs", "toml", "md", "proto", "py", "js", "mjs", "ts", "sh", "yaml", "yml", "json", "service", "env"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is one folder below the workspace")
}

/// Every text file of the tree, by its path from the root.
fn tree() -> Vec<(String, String)> {
    let (mut files, mut folders) = (Vec::new(), vec![root().to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the tree can be listed") {
            let path = entry.expect("the tree can be listed").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(path);
            } else if name == "run"
                || path.extension().is_some_and(|end| TEXT.iter().any(|text| end == *text))
            {
                // A file that is no text, or went away meanwhile, holds no rule's subject.
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let below = path.strip_prefix(root()).expect("the walk began at the root");
                files.push((below.to_string_lossy().replace('\\', "/"), text));
            }
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<Source> {
    let rust = tree().into_iter().filter(|(path, _)| path.ends_with(".rs"));
    rust.map(|(path, text)| Source::new(&path, &text)).collect()
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_file_keeps_the_rules() {
    let sources = sources();
    assert!(sources.len() > 30, "the walk found only {} files", sources.len());
    none(sources.iter().flat_map(|source| RULES.iter().flat_map(|(_, rule)| rule(source))).collect());
}

#[test]
fn every_manifest_keeps_the_directions() {
    // The fuzz targets stand outside the workspace, whose versions they cannot inherit.
    let inside = |path: &str| path.ends_with("/Cargo.toml") && path != "tests/fuzz/Cargo.toml";
    let manifests: Vec<_> = tree().into_iter().filter(|(path, _)| inside(path)).collect();
    assert_eq!(manifests.len(), 11, "crates come and go with the table of imports");
    none(manifests.iter().flat_map(|(path, text)| imports::manifest(path, text)).collect());
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    none(tree().iter().flat_map(|(path, text)| rules::machine_path(path, text)).collect());
}

#[test]
fn invariants_in_the_readme_name_tests_that_exist() {
    let Ok(text) = fs::read_to_string(root().join("README.md")) else { return };
    none(readme::invariants(&text, &sources()));
}

/// A bad sample, and the rule that must report it.
fn bites(rule: &str, path: &str, text: &str) {
    let source = Source::new(path, text);
    let reporting: Vec<&str> =
        RULES.iter().filter(|(_, rule)| !rule(&source).is_empty()).map(|(name, _)| *name).collect();
    assert_eq!(reporting, [rule], "{path}: {text:.80}");
}

fn passes(path: &str, text: &str) {
    let source = Source::new(path, text);
    none(RULES.iter().flat_map(|(_, rule)| rule(&source)).collect());
}

#[test]
fn sizes_and_headers_bite() {
    bites("file size", "cli/src/a.rs", &format!("//! A.\n{}", "\n".repeat(rules::FILE_LINES_MAX)));
    passes("cli/src/a.rs", &format!("//! A.\n{}", "\n".repeat(rules::FILE_LINES_MAX - 1)));
    let function = |lines: usize| format!("//! A.\nfn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2));
    bites("function size", "cli/src/a.rs", &function(rules::FUNCTION_LINES_MAX + 1));
    passes("cli/src/a.rs", &function(rules::FUNCTION_LINES_MAX));
    bites("header", "cli/src/a.rs", "fn a() {}\n");
    bites("header", "cli/src/a.rs", "//!\nfn a() {}\n");
    bites("header", "cli/src/a.rs", "");
}

#[test]
fn names_bite() {
    bites("module names", "cli/src/util.rs", "//! A.\n");
    bites("module names", "cli/src/common/a.rs", "//! A.\n");
    bites("module names", "cli/src/a.rs", "//! A.\nmod helpers {}\n");
    passes("cli/src/a.rs", "//! A helper, a util.\nmod commons {}\n");
}

#[test]
fn waits_and_ignored_tests_bite() {
    bites("sleeping tests", "tests/tests/a.rs", "//! A.\nfn a() { std::thread::sleep(d); }\n");
    bites("sleeping tests", "tests/src/a.rs", "//! A.\nasync fn a() { tokio::time::sleep(d).await; }\n");
    bites(
        "sleeping tests",
        "dataplane/src/a.rs",
        "//! A.\n#[cfg(test)]\nmod tests {\n fn a() { sleep(d) }\n}\n",
    );
    bites("sleeping tests", "cli/tests/a.rs", "//! A.\nuse std::thread::sleep;\n");
    passes("dataplane/src/a.rs", "//! A.\nfn a() { sleep(d) }\n#[cfg(test)]\nmod tests {}\n");
    passes("tests/llmsim/src/a.rs", "//! A.\nasync fn a() { sleep(d).await }\n");
    passes("tests/tests/a.rs", "//! A.\n// No sleep( here.\nfn sleeps() { say(\"sleep(1)\") }\n");
    bites("ignored tests", "tests/tests/a.rs", "//! A.\n#[test]\n#[ignore]\nfn a() {}\n");
    bites("ignored tests", "tests/tests/a.rs", "//! A.\n#[test]\n#[ignore = \"flaky\"]\nfn a() {}\n");
    passes("tests/tests/a.rs", "//! Ä.\n#[test]\n#[ignore = \"2026-11-21: needs a device\"]\nfn a() {}\n");
}

#[test]
fn imports_bite() {
    for (path, line) in [
        ("proto/src/a.rs", "use wire::Dialect;"),
        ("controlplane/src/a.rs", "use dataplane::app;"),
        ("controlplane/src/plan.rs", "use tokio::time;"),
        ("controlplane/src/plan/check.rs", "fn a() { tonic::Status::ok(()); }"),
        ("controlplane/src/probe/verdict.rs", "use {tokio as t};"),
        ("controlplane/src/api/a.rs", "use sled::Db;"),
        ("controlplane/src/plan/a.rs", "use proto::v1;"),
        ("dataplane/src/a.rs", "use controlplane::app;"),
        ("dataplane/src/route/a.rs", "use hyper::Request;"),
        ("dataplane/src/serve/a.rs", "use ::proto::v1;"),
        ("dataplane/src/dispatch/lease.rs", "use wire::Dialect;"),
        ("dataplane/src/relay.rs", "use crate::config::Snapshot;"),
        ("dataplane/src/relay/tap.rs", "use crate::{config, route};"),
        ("dataplane/sched/src/a.rs", "use std::time::Instant;"),
        ("dataplane/sched/src/a.rs", "use std::collections::HashMap;"),
        ("dataplane/wire/src/a.rs", "use tokio::io;"),
        ("tests/llmsim/src/a.rs", "use wire::Dialect;"),
        ("tests/arena/src/a.rs", "use wire::Dialect;"),
        ("tests/arena/src/cache/a.rs", "use sched::Event;"),
        ("cli/src/a.rs", "use controlplane::app;"),
        ("cli/src/demo.rs", "use dataplane::app;"),
        ("cli/src/up.rs", "use llmsim::Sim;"),
        ("cli/src/a.rs", "use wire::Dialect;"),
    ] {
        bites("imports", path, &format!("//! A.\n{line}\n"));
    }
    passes("cli/src/up.rs", "//! A.\nuse controlplane::app;\nuse dataplane::app;\n");
    passes("cli/src/demo.rs", "//! A.\nuse llmsim::Sim;\n");
    passes("dataplane/src/config/follow.rs", "//! A.\nuse proto::v1;\n");
    passes("controlplane/src/plan.rs", "//! tokio::time\nfn a() { let x = \"tokio::time\"; b.tokio; }\n");
    passes("controlplane/src/store/tree.rs", "//! A.\nuse sled::Db;\n");
}

#[test]
fn manifests_bite() {
    for (name, section, key) in [
        ("sched", "dependencies", "serde.workspace = true"),
        ("wire", "dependencies", "tokio.workspace = true"),
        ("wire", "dev-dependencies", "sched = { workspace = true }"),
        ("controlplane", "dependencies", "dataplane.workspace = true"),
        ("dataplane", "dev-dependencies", "llmsim.workspace = true"),
        ("proto", "build-dependencies", "wire.workspace = true"),
        ("wire", "dependencies", "serde = \"1\""),
        ("newcomer", "dependencies", "serde.workspace = true"),
    ] {
        let text = format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n[{section}]\n{key}\n");
        assert_eq!(imports::manifest("x/Cargo.toml", &text).len(), 1, "{text}");
    }
    let fine = "[package]\nname = \"wire\"\n[dependencies]\nserde.workspace = true\n# tokio\n[lints]\nworkspace = true\n";
    none(imports::manifest("x/Cargo.toml", fine));
    assert_eq!(imports::manifest("x/Cargo.toml", "[package]\nname = \"wire\"\n").len(), 1);
}

#[test]
fn machine_paths_and_readme_bite() {
    let place = ["/ro", "ot/x"].concat();
    assert_eq!(rules::machine_path("a.md", &format!("cd {place}\n")).len(), 1);
    none(rules::machine_path("a.md", "see my/ho\nme/x and https://h/tmpx\n"));
    let sources =
        [Source::new("tests/tests/laws.rs", "//! A.\n#[test]\nfn never_above_the_slots() {}\nfn rig() {}\n")];
    let table =
        |test: &str| format!("# x\n## Invariants\n\n| invariant | test |\n|---|---|\n| slots | {test} |\n");
    none(readme::invariants(&table("`never_above_the_slots`"), &sources));
    none(readme::invariants(&table("`tests/tests/laws.rs` `laws.rs::never_above_the_slots`"), &sources));
    for bad in ["`sometimes_above`", "`laws.rs::rig`", "`tests/tests/flaws.rs`", "later", ""] {
        assert_eq!(readme::invariants(&table(bad), &sources).len(), 1, "{bad}");
    }
}
