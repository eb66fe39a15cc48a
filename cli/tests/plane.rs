//! `llmctl dataplane`: listed, shown, drained, and fenced only when it is gone.

mod rig;

use rig::{Up, shell};

#[test]
fn a_data_plane_is_listed_shown_and_drained_and_not_fenced_while_it_follows() {
    let folder = tempfile::tempdir().expect("a folder");
    let state_dir = folder.path().to_str().expect("a plain path");
    let up = Up::start(&["--no-discover", "--state-dir", state_dir]);
    let run = |args: &str, want: i32| {
        let (code, stdout, stderr) = up.llmctl(args);
        assert_eq!(code, want, "{args}: {stdout}{stderr}");
        format!("{stdout}{stderr}")
    };
    let list: serde_json::Value = serde_json::from_str(&run("dataplane list -o json", 0)).expect("JSON");
    let plane = &list["dataPlanes"][0];
    let id = plane["id"].as_str().expect("an id");
    assert_eq!((plane["lead"].as_bool(), plane["registered"].as_bool()), (Some(true), Some(true)));
    assert!(run("dataplane ls", 0).contains("serving, lead"));
    let begin = &id[..6];
    let shown = run(&format!("dataplane status {begin}"), 0);
    assert!(shown.contains(&format!("data plane {id}")) && shown.contains("incarnation: 1"), "{shown}");
    let ready = || {
        let url = up.url("metrics at").replace("/metrics", "/readyz");
        shell(&format!("curl -s {url}"), folder.path()).1
    };
    run(&format!("dataplane drain {begin}"), 0);
    assert!(run("status", 0).contains("drains"));
    let began = std::time::Instant::now();
    while !ready().contains("it drains") {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{}", ready());
    }
    run(&format!("dataplane undrain {id}"), 0);
    assert!(!run("status", 0).contains("drains"));
    assert!(run(&format!("dataplane fence {id}"), 4).contains("follows, so it is not dead"));
    assert!(run("dataplane status nobody", 3).contains("llmctl dataplane list"));
    assert_eq!(up.stop(), Some(0));
}
