//! `llmctl up`: the demo and its commands, servers by URL, a restart, a second one on the same state.

mod rig;

use llmsim::{Kind, Settings};
use rig::{Up, llmctl, shell};

#[test]
fn the_demo_serves_and_its_commands_work_as_they_stand() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let up = Up::start(&["--demo", "--queue-wait", "30s", "--probe-interval", "500ms"]);
    for backend in ["ollama", "llamacpp", "vllm", "anthropic", "gemini"] {
        let line = up.said.lines().find(|line| line.starts_with(&format!("{backend} ")));
        assert!(line.is_some_and(|line| line.contains(" healthy ")), "{backend}:\n{}", up.said);
    }
    let commands = up.commands();
    let marks =
        ["data: [DONE]", "\"stop_reason\"", "\"candidates\"", "\"done\":true", "DATA PLANE", "llama3.2:3b"];
    assert_eq!(commands.len(), marks.len(), "{commands:?}");
    for (command, mark) in commands.iter().zip(marks) {
        let (code, stdout, stderr) = shell(command, elsewhere.path());
        assert!(code == 0 && stdout.contains(mark), "{command}\n{code}\n{stdout}\n{stderr}");
        assert!(!stdout.contains("\"error\""), "{command}\n{stdout}");
    }
    assert_eq!(up.stop(), Some(0));
}

#[test]
fn a_server_by_url_is_found_and_kept_over_a_restart() {
    let sim = llmsim::start(Settings {
        kind: Kind::Llamacpp,
        slots: 2,
        models: vec!["qwen3:8b".to_owned()],
        ..Settings::default()
    })
    .expect("a simulated server");
    let state = tempfile::tempdir().expect("a folder");
    let state_dir = state.path().to_str().expect("a plain path");
    let arguments = ["--backend", &sim.url(), "--state-dir", state_dir];
    let up = Up::start(&arguments);
    assert!(up.said.contains(": added, ") && up.said.contains("qwen3:8b"), "{}", up.said);
    let commands = up.commands();
    let (code, stdout, stderr) = shell(&commands[0], state.path());
    assert!(code == 0 && stdout.contains("data: [DONE]"), "{stdout}\n{stderr}");

    let ports = "--listen 127.0.0.1:0 --control-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";
    let (code, _, stderr) = llmctl(&format!("up {ports} --state-dir {state_dir}"));
    assert_eq!((code, stderr.lines().count()), (1, 1), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(state_dir), "{stderr}");

    assert_eq!(up.stop(), Some(0));
    let up = Up::start(&arguments);
    assert!(up.said.contains(": kept, "), "{}", up.said);
    let (_, stdout, _) = up.llmctl("backend list -o json");
    let list: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(list["backends"].as_array().map(Vec::len), Some(1), "{stdout}");
    assert_eq!(up.stop(), Some(0));
    let other = format!("{}/v1beta", sim.url());
    let up = Up::start(&["--backend", &other, "--state-dir", state_dir]);
    assert!(up.said.contains(&format!("{other}: kept, ")), "{}", up.said);
}

#[test]
fn with_nothing_behind_it_up_says_what_to_do_and_serves() {
    let state = tempfile::tempdir().expect("a folder");
    let up = Up::start(&["--no-discover", "--state-dir", state.path().to_str().expect("a plain path")]);
    assert!(up.said.contains("backend add http://HOST:PORT"), "{}", up.said);
    let (code, stdout, _) = up.llmctl("models");
    assert!(code == 0 && stdout.starts_with("no models"), "{stdout}");
}

#[test]
fn what_cannot_be_is_said_in_a_sentence() {
    let state = tempfile::tempdir().expect("a folder");
    let state_dir = state.path().to_str().expect("a plain path");
    for listen in ["--listen", "--control-listen", "--admin-listen"] {
        let mut flags = [
            ("--listen", "127.0.0.1:0"),
            ("--control-listen", "127.0.0.1:0"),
            ("--admin-listen", "127.0.0.1:0"),
        ];
        flags.iter_mut().filter(|(flag, _)| *flag == listen).for_each(|flag| flag.1 = "0.0.0.0:0");
        let flags: String = flags.iter().map(|(flag, value)| format!("{flag} {value} ")).collect();
        let (code, stdout, stderr) = llmctl(&format!("up --no-discover --state-dir {state_dir} {flags}"));
        assert!(code == 1 && stderr.contains("--insecure-listen"), "{listen}: {code}\n{stdout}\n{stderr}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address");
    let ports = format!("--listen {taken} --control-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0");
    let (code, _, stderr) = llmctl(&format!("up --no-discover --state-dir {state_dir} {ports}"));
    assert!(code == 1 && stderr.contains(&taken.to_string()) && stderr.contains(" --listen"), "{stderr}");
}
