//! `llmctl explain`, `llmctl tail` and `llmctl replay`, against a running balancer and the tape that it leaves.

mod rig;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use llmsim::{Kind, Settings, Sim};
use rig::{Up, llmctl, shell};

const DEADLINE: Duration = Duration::from_secs(60);

fn sim() -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        slots: 2,
        models: vec!["m".to_owned()],
        prefill_tps: 0.0,
        decode_tps: 1000.0,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server")
}

/// Asks, and tells the id of the request and who answered.
fn ask(url: &str, words: usize) -> (String, String) {
    let text = "the-text-of-a-prompt ".repeat(words);
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":4}}"#);
    let curl = format!("curl -s -o /dev/null -D - {url}/v1/chat/completions -d '{body}'");
    let (_, head, _) = shell(&curl, &std::env::temp_dir());
    let value = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {head}")).trim().to_owned()
    };
    (value("x-llmb-request-id"), value("x-llmb-backend"))
}

fn refused(line: &str, code: i32, said: &str) {
    let (exit, _, stderr) = llmctl(line);
    assert!(exit == code && stderr.contains(said), "{line}: {exit} {stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
}

fn replays(tape: &Path) {
    let path = tape.to_str().expect("a plain path");
    let (code, stdout, stderr) = llmctl(&format!("replay {path}"));
    assert!(code == 0 && stdout.ends_with(" decisions: identical\n"), "{code} {stdout} {stderr}");
    let (_, stdout, _) = llmctl(&format!("replay {path} -o json"));
    assert!(stdout.contains("\"identical\": true"), "{stdout}");
    let text = fs::read_to_string(tape).expect("a tape");
    assert!(!text.contains("the-text-of"), "no text of a prompt");

    let folder = tape.parent().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("it is written");
        path.to_str().expect("a plain path").to_owned()
    };
    let altered = write("altered", &text.replacen("\"slot\":0", "\"slot\":7", 1));
    refused(&format!("replay {altered}"), 1, "the core decides otherwise than it did");
    let cut = write("cut", &text[..text.len() - 3]);
    refused(&format!("replay {cut}"), 2, "cut off in the middle of a record");
    refused(&format!("replay {}", write("other", "a: tape?\n")), 2, "this is no tape");
    refused("replay no-such-file", 2, "no-such-file: ");

    let rule = write("rule.yaml", "policy: round-robin\nscheduling: {waitMax: 5s}\n");
    let (code, stdout, stderr) = llmctl(&format!("replay {path} --policy {rule}"));
    assert!(code == 0 && stdout.contains("first start on another backend"), "{stdout} {stderr}");
    assert!(stdout.contains("mean wait for a slot") && stdout.contains("RECORDED"), "{stdout}");
    let (_, stdout, _) = llmctl(&format!("replay {path} --policy {rule} -o json"));
    assert!(stdout.contains("\"elsewhere\"") && stdout.contains("\"waited_s\""), "{stdout}");
    let wrong = write("wrong.yaml", "scheduling: {waitMaximum: 5s}\n");
    refused(&format!("replay {path} --policy {wrong}"), 2, "unknown field `waitMaximum`, expected one of");
}

#[test]
fn requests_are_explained_told_and_replayed() {
    let (one, two) = (sim(), sim());
    let folder = tempfile::tempdir().expect("a folder");
    let tape = folder.path().join("tape");
    let (state, tape_arg) = (folder.path().join("state").display().to_string(), tape.display().to_string());
    let (one_url, two_url) = (one.url(), two.url());
    let arguments =
        ["--backend", &one_url, "--backend", &two_url, "--state-dir", &state, "--tape", &tape_arg];
    let up = Up::start(&arguments);
    let url = up.url("Serving at");

    let (id, backend) = ask(&url, 200);
    let (code, stdout, stderr) = up.llmctl(&format!("explain {id}"));
    assert!(
        code == 0 && stdout.contains(&format!("request {id}: answered, status 200")),
        "{stdout} {stderr}"
    );
    assert!(stdout.contains(&format!("it starts on {backend}: ")), "{stdout}");
    assert!(stdout.contains("by policy cache-affine") && stdout.contains("TO READ"), "{stdout}");
    assert!(!stdout.contains("the-text-of"), "{stdout}");
    let (code, stdout, _) = up.llmctl(&format!("explain {id} -o json"));
    let told: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, told["starts"][0]["backend"].as_str()), (0, Some(&*backend)), "{stdout}");
    let (code, _, stderr) = up.llmctl("explain req_0000000000000001");
    assert!(code == 3 && stderr.contains("no data plane knows request req_0000000000000001"), "{stderr}");
    let (code, _, stderr) = up.llmctl("explain ../metrics");
    assert!(code == 2 && stderr.contains("is no id of a request"), "{stderr}");
    refused(&format!("explain {id} --admin 127.0.0.1:9"), 5, "cannot be asked at 127.0.0.1:9");
    refused("tail --admin http://h:1/path", 2, "a URL such as http://127.0.0.1:8802");

    let began = Instant::now();
    let asked = thread::scope(|scope| {
        let tail = format!("--control {} tail -n 3", up.url("Managed at"));
        let listener = scope.spawn(move || llmctl(&tail));
        let mut asked = Vec::new();
        while !listener.is_finished() {
            assert!(began.elapsed() < DEADLINE, "nothing is told");
            asked.push(ask(&url, 100).0);
        }
        let (code, stdout, stderr) = listener.join().expect("it ends");
        assert_eq!((code, stdout.lines().count()), (0, 4), "{stdout} {stderr}");
        assert!(stdout.starts_with("TIME (UTC)") && stdout.contains("answered 200"), "{stdout}");
        assert!(!stdout.contains("the-text-of"), "{stdout}");
        let told: Vec<&str> =
            stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert!(told.iter().all(|id| asked.iter().any(|asked| asked == id)), "{told:?}");
        asked.len()
    });
    assert!(asked >= 3);
    assert_eq!(up.stop(), Some(0));
    replays(&tape);
}
