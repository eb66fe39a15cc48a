//! The official SDKs, unmodified, through the product in front of one simulated server of each kind.

mod slow;

use std::{fs, process::Command};

use slow::{Product, Running};

/// An answer of 1,500 tokens takes 3 seconds: long enough to leave half-way.
const PACE: [&str; 4] = ["--decode-tps", "500", "--output-tokens", "1500"];

/// A simulated server whose one model is named after its kind.
struct Sim {
    _process: Running,
    kind: &'static str,
    url: String,
}

impl Sim {
    fn start(kind: &'static str) -> Self {
        let mut command = Command::new(tests::process::binary("llmsim"));
        command.args(["--kind", kind, "--model", kind, "--slots", "2", "--listen", "127.0.0.1:0"]).args(PACE);
        let process = Running::start(&format!("llmsim-{kind}"), &mut command);
        let url = process.until(|line| slow::url_after("listening", line));
        Self { _process: process, kind, url }
    }
}

/// Runs `script` once for each kind that speaks its dialect, all of them behind one product.
fn check(script: &str, kinds: &[&'static str], lacks: &[(&str, &str)]) {
    let all = ["ollama", "lmstudio", "llamacpp", "vllm", "openai", "anthropic", "gemini"];
    let sims = all.map(Sim::start);
    let urls: Vec<&str> = sims.iter().map(|sim| sim.url.as_str()).collect();
    let product = Product::up(&format!("up-{script}"), &urls);
    let mut failed = Vec::new();
    for sim in sims.iter().filter(|sim| kinds.contains(&sim.kind)) {
        println!("-- {script}: model {} behind the product", sim.kind);
        let idle = format!("{}/_sim/stats", sim.url);
        let mut args = vec!["--base", &product.base, "--model", sim.kind, "--idle", &idle];
        args.extend(["--embed-model", sim.kind]);
        for (_, lack) in lacks.iter().filter(|(kind, _)| *kind == sim.kind) {
            args.extend(["--lacks", lack]);
        }
        if !slow::script(script, &args) {
            failed.push(sim.kind);
        }
    }
    assert!(failed.is_empty(), "{script} failed for {failed:?}, see above");
}

const OPENAI_KINDS: [&str; 5] = ["ollama", "lmstudio", "llamacpp", "vllm", "openai"];
const NO_HELPER: (&str, &str) =
    ("llamacpp", "responses helper=llama-server's stream lacks the indexes that the helper needs");
const ANTHROPIC_KINDS: [&str; 4] = ["ollama", "llamacpp", "vllm", "anthropic"];

#[test]
fn openai_for_python() {
    check("with_openai.py", &OPENAI_KINDS, &[NO_HELPER]);
}

#[test]
fn openai_for_node() {
    check("with_openai.mjs", &OPENAI_KINDS, &[NO_HELPER]);
}

#[test]
fn anthropic_for_python() {
    check("with_anthropic.py", &ANTHROPIC_KINDS, &[]);
}

#[test]
fn anthropic_for_node() {
    check("with_anthropic.mjs", &ANTHROPIC_KINDS, &[]);
}

#[test]
fn genai_for_python() {
    check("with_genai.py", &["gemini"], &[]);
}

#[test]
fn genai_for_node() {
    check("with_genai.mjs", &["gemini"], &[]);
}

#[test]
fn ollama_for_python() {
    check("with_ollama.py", &["ollama"], &[]);
}

#[test]
fn ollama_for_node() {
    check("with_ollama.mjs", &["ollama"], &[]);
}

#[test]
fn the_script_of_the_readme_manages_by_reflection() {
    let read = |path| fs::read_to_string(slow::root().join(path)).expect("it is part of the repository");
    assert!(read("README.md").contains(&read("tests/sdk/manage.py")), "README shows another script");
    let product = Product::up::<&str>("up-manage", &[]);
    let target = product.control.trim_start_matches("http://");
    assert!(slow::script("manage.py", &[target]), "manage.py failed, see above");
}
