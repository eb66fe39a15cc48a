//! The product in front of a real llama-server, with the official openai and anthropic SDKs.

mod slow;

use std::{
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use slow::{Product, Running};

const MODEL: &str = "smollm2";
const EMBED_MODEL: &str = "smollm2-embed";
const SLOTS: u32 = 2;

/// Two servers at a time are enough for a small machine, and deadlines mean something.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A llama-server with the model that `tests/llama/build` fetched.
struct Llama {
    _process: Running,
    url: String,
}

impl Llama {
    fn start(alias: &str, slots: u32, more: &[&str]) -> Self {
        let folder = PathBuf::from(slow::setting("LLMB_LLAMA_DIR"));
        let mut command = Command::new(folder.join("llama-server"));
        command
            .args(["--host", "127.0.0.1", "--port", "0", "--alias", alias, "-m"])
            .arg(folder.join("model.gguf"));
        // One thread each: more of them spin. Temperature 0: the same answers in every run.
        command.args(["-c", "8192", "-t", "1", "-tb", "1", "--temp", "0", "-np", &slots.to_string()]);
        command.args(["--slots", "--metrics", "--props", "--no-ui", "--offline"]).args(more);
        let process = Running::start(alias, &mut command);
        let url = process.until(|line| slow::url_after("listening", line));
        Self { _process: process, url }
    }

    /// Its template shows the small model what a tool call looks like; its own knows no tools.
    fn chat() -> Self {
        let template = slow::root().join("tests/llama/tools.jinja");
        Self::start(MODEL, SLOTS, &["--jinja", "--chat-template-file", &template.display().to_string()])
    }

    fn embedding() -> Self {
        Self::start(EMBED_MODEL, 1, &["--embedding", "--pooling", "mean"])
    }
}

/// Runs one SDK through the product in front of a chat server and an embedding server.
fn check(script: &str, more: &[&str]) {
    let _alone = alone();
    let (chat, embedding) = (Llama::chat(), Llama::embedding());
    let product = Product::up(&format!("up-llama-{script}"), &[&chat.url, &embedding.url]);
    let idle = format!("{}/slots", chat.url);
    let mut args = vec!["--base", &product.base, "--model", MODEL, "--idle", &idle];
    args.extend(more);
    assert!(slow::script(script, &args), "{script} failed, see above");
}

const NO_HELPER: &str = "responses helper=llama-server's stream lacks the indexes that the helper needs";

#[test]
fn openai_for_python() {
    check("with_openai.py", &["--embed-model", EMBED_MODEL, "--lacks", NO_HELPER]);
}

#[test]
fn openai_for_node() {
    check("with_openai.mjs", &["--embed-model", EMBED_MODEL, "--lacks", NO_HELPER]);
}

#[test]
fn anthropic_for_python() {
    check("with_anthropic.py", &[]);
}

#[test]
fn anthropic_for_node() {
    check("with_anthropic.mjs", &[]);
}

#[test]
fn it_is_found_and_listed_with_its_model_and_slots() {
    let _alone = alone();
    let chat = Llama::chat();
    let product = Product::up("up-llama-list", &[&chat.url]);
    let listed = product.backends();
    let status = &listed[0]["status"];
    assert_eq!(status["kind"], "LLAMACPP", "{listed:#?}");
    assert_eq!(status["health"], "HEALTHY", "{listed:#?}");
    assert_eq!(status["models"][0]["name"], MODEL, "{listed:#?}");
    assert_eq!(status["slots"], SLOTS, "{listed:#?}");
    assert_ne!(status["slotsAssumed"], true, "{listed:#?}");
    let table = product.llmctl(&["backend", "list"]);
    assert!(table.contains("llamacpp"), "{table}");
}
