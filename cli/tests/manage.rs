//! Commands against a running control plane: what they show, what they change, their exit codes.

mod rig;

use std::fs;

use llmsim::{Kind, Settings, Sim};
use rig::{Up, llmctl};

fn server(kind: Kind, slots: u32) -> Sim {
    let models = vec!["qwen3:8b".to_owned()];
    llmsim::start(Settings { kind, slots, models, ..Settings::default() }).expect("a simulated server")
}

fn up(folder: &tempfile::TempDir) -> Up {
    Up::start(&["--no-discover", "--state-dir", folder.path().to_str().expect("a plain path")])
}

/// Runs it and expects an exit code; the text is of stdout when that is 0, else of stderr.
fn run(up: &Up, line: &str, code: i32) -> String {
    let (got, stdout, stderr) = up.llmctl(line);
    assert_eq!(got, code, "{line}\n{stdout}\n{stderr}");
    if code == 0 { stdout } else { stderr }
}

fn json(up: &Up, line: &str) -> serde_json::Value {
    serde_json::from_str(&run(up, &format!("{line} -o json"), 0)).expect("JSON")
}

#[test]
fn a_backend_from_its_addition_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (up, told, assumed) = (up(&folder), server(Kind::Llamacpp, 2), server(Kind::Ollama, 1));
    let added = run(&up, &format!("backend add box {}", told.url()), 0);
    for part in ["backend box added (revision ", "llamacpp", "slots", "2", "openai-chat", "qwen3:8b"] {
        assert!(added.contains(part), "{part}:\n{added}");
    }
    let unnamed = run(&up, &format!("backend add {}", assumed.url()), 0);
    let name = format!("127.0.0.1-{}", assumed.addr().port());
    assert!(
        unnamed.contains(&format!("backend {name} added"))
            && unnamed.contains("1 (assumed; set --max-concurrency)"),
        "{unnamed}"
    );

    let revision = json(&up, "backend get box")["revision"].as_u64().expect("a revision");
    let changed = run(&up, "backend update box --priority 5 --max-concurrency 1", 0);
    assert!(changed.contains(&format!("(revision {revision} → ")), "{changed}");
    assert!(
        changed.contains("priority: 0 → 5") && changed.contains("max-concurrency: auto → 1"),
        "{changed}"
    );
    let stale = run(&up, &format!("backend update box --priority 6 --revision {revision}"), 4);
    assert!(stale.starts_with("error: "), "{stale}");
    assert_eq!(json(&up, "backend get box")["priority"], 5);

    assert!(run(&up, "backend drain box", 0).contains("draining: no → yes"));
    assert!(run(&up, "backend list", 0).contains("draining"));
    assert!(run(&up, "backend undrain box", 0).contains("draining: yes → no"));
    assert!(run(&up, "models", 0).contains("qwen3:8b"));
    assert!(run(&up, "status", 0).contains("serving"));
    assert!(run(&up, "backend delete box", 0).contains("backend box deleted"));
    run(&up, "backend get box", 3);
    assert!(run(&up, "backend get nothing -o yaml", 3).contains("nothing"));
}

#[test]
fn a_server_that_is_nothing_is_told_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let (up, sim) = (up(&folder), server(Kind::Vllm, 4));
    let probed = run(&up, &format!("backend probe {}", sim.url()), 0);
    assert!(probed.contains("vllm") && probed.contains("evidence\n  "), "{probed}");
    let gone = sim.url();
    sim.stop();
    assert!(run(&up, &format!("backend probe {gone}"), 1).contains("no model server"));
    assert!(run(&up, &format!("backend add dead {gone}"), 6).contains("added but not healthy"));
    run(&up, &format!("backend add dead {gone}"), 4);
    assert!(run(&up, &format!("backend add {gone}"), 4).contains("dead"));
    run(&up, "backend add bad ftp://nowhere", 2);
    run(&up, &format!("backend add Bad_Name {gone}"), 2);
    run(&up, "backend delete dead --revision 999999", 4);
}

#[test]
fn routes_are_added_listed_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = up(&folder);
    run(&up, "route add fast --exact gpt-4o --to qwen3:8b --to llama3.2:3b", 0);
    run(&up, "route add latest --pattern ^(.*)-latest$ --to $1 --precedence 3", 0);
    let list = run(&up, "route list", 0);
    assert!(list.contains("gpt-4o") && list.contains("/^(.*)-latest$/"), "{list}");
    run(&up, "route add fast --exact gpt-4o --to qwen3:8b", 4);
    run(&up, "route add broken --pattern ( --to $1", 2);
    run(&up, "route delete nothing", 3);
    assert!(run(&up, "route delete fast", 0).contains("route fast deleted"));
    assert_eq!(json(&up, "route list")["routes"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_file_is_applied_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = up(&folder);
    let file = folder.path().join("fleet.yaml");
    let apply = |text: &str, flags: &str, code: i32| {
        fs::write(&file, text).expect("the file is written");
        run(&up, &format!("apply -f {} {flags}", file.display()), code)
    };
    let yaml = "backends:\n- name: box\n  url: http://127.0.0.1:9\nroutes:\n- name: fast\n  exact: gpt-4o\n  targets:\n  - model: m\n";
    let dry = apply(yaml, "--dry-run", 0);
    assert!(dry.contains("dry run") && dry.contains("created"), "{dry}");
    run(&up, "backend get box", 3);
    assert!(apply(yaml, "", 0).contains("created"));
    assert!(apply(yaml, "", 0).contains("unchanged"));
    let changed = apply(&yaml.replace("  url:", "  priority: 2\n  url:"), "", 0);
    assert!(changed.contains("priority: 0 → 2"), "{changed}");
    let unknown = apply(&yaml.replace("  url:", "  prioritee: 2\n  url:"), "", 2);
    assert!(unknown.contains("backends[0]") && unknown.contains("prioritee"), "{unknown}");
    let faulty =
        apply("backends:\n- name: new\n  url: http://127.0.0.1:9\n- name: Bad\n  url: nowhere\n", "", 2);
    assert!(faulty.contains("Bad") || faulty.contains("backends[1]"), "{faulty}");
    run(&up, "backend get new", 3);
    assert!(run(&up, "apply -f no/such/file", 2).contains("no/such/file"));
}

#[test]
fn the_figures_of_scheduling_are_a_part_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = up(&folder);
    let file = folder.path().join("fleet.yaml");
    let apply = |text: &str, code: i32| {
        fs::write(&file, text).expect("the file is written");
        run(&up, &format!("apply -f {}", file.display()), code)
    };
    assert!(!run(&up, "export", 0).contains("scheduling"), "nothing is set");
    let set = "scheduling: {ageMax: 10s, waitBudgetPercent: 0, fair: false}\n";
    let applied = apply(set, 0);
    assert!(applied.contains("scheduling  scheduling  created") && applied.contains("ageMax: default → 10s"));
    let exported = run(&up, "export", 0);
    for part in ["ageMax: 10s", "waitBudgetPercent: 0", "fair: false"] {
        assert!(exported.contains(part) && !exported.contains("revision"), "{part}: {exported}");
    }
    assert!(apply(&exported, 0).contains("unchanged"));
    assert!(run(&up, "route list", 0).contains("no routes"));
    let faulty = apply("scheduling: {ageMax: 0s, holdPercent: 1001}\n", 2);
    assert!(
        faulty.contains("scheduling.age_max: 0 s is not allowed") && faulty.contains("0 to 1000"),
        "{faulty}"
    );
    let back = apply("scheduling: {}\n", 0);
    assert!(back.contains("updated") && back.contains("waitBudgetPercent: 0 → default"), "{back}");
    assert!(!run(&up, "export", 0).contains("scheduling"));
}

#[test]
fn what_is_printed_can_be_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = up(&folder);
    run(&up, "backend add box 127.0.0.1:9 --no-wait --priority 3", 0);
    run(&up, "route add fast --exact gpt-4o --to m@box", 0);
    let file = folder.path().join("all.yaml");
    for print in ["-o yaml backend list", "-o json backend list", "-o yaml route list", "export"] {
        fs::write(&file, run(&up, print, 0)).expect("the file is written");
        let applied = run(&up, &format!("apply -f {}", file.display()), 0);
        assert!(applied.contains("unchanged") && !applied.contains("updated"), "{print}: {applied}");
    }
    run(&up, "route delete fast", 0);
    run(&up, "backend delete box", 0);
    assert!(run(&up, &format!("apply -f {}", file.display()), 0).contains("created"));
    assert_eq!(json(&up, "backend get box")["priority"], 3);
}

#[test]
fn a_wrong_port_is_told_and_a_lone_host_and_port_will_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = up(&folder);
    let metrics = up.url("metrics at").replace("/metrics", "");
    for wrong in [up.url("Serving at"), metrics] {
        let (code, _, stderr) = llmctl(&format!("--control {wrong} status"));
        assert!(code == 5 && stderr.contains(&format!("no management API at {wrong}")), "{code}: {stderr}");
        assert!(stderr.contains(":8801"), "{stderr}");
    }
    let control = up.url("Managed at");
    let (code, stdout, stderr) = llmctl(&format!("--control {} status", control.replace("http://", "")));
    assert!(code == 0 && stdout.contains("control plane"), "{stdout}{stderr}");
}

#[test]
fn hints_name_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = up(&folder);
    run(&up, "backend add box 127.0.0.1:9 --no-wait", 0);
    let twice = run(&up, "backend add box 127.0.0.1:10 --no-wait", 4);
    assert!(twice.contains("exists already") && twice.contains("llmctl backend update"), "{twice}");
    let same = run(&up, "backend add other localhost:9/v1 --no-wait", 4);
    assert!(same.contains("\"box\" has the URL"), "{same}");
    let (code, stdout, stderr) = up.llmctl("route add fast --exact gpt-4o --to m@box");
    assert!(code == 0 && stdout.contains("route fast added"), "{stdout}");
    assert!(stderr.contains("warning: no backend serves a target of route fast now"), "{stderr}");
    let used = run(&up, "backend delete box", 4);
    assert!(used.contains("`llmctl route delete fast`"), "{used}");
}

#[test]
fn an_unreachable_control_plane_has_its_own_code() {
    let (code, stdout, stderr) = llmctl("--control http://127.0.0.1:9 status");
    assert_eq!((code, stdout.as_str()), (5, ""), "{stderr}");
    assert!(
        stderr.starts_with("error: no control plane at http://127.0.0.1:9") && stderr.contains("llmctl up")
    );
    let (code, _, stderr) = llmctl("--control ftp://nowhere status");
    assert!(code == 2 && stderr.contains("--control ftp://nowhere"), "{stderr}");
    assert_eq!(llmctl("frobnicate").0, 2);
}
