//! A store that is broken says how to go on, and what it says leads back to the same configuration.

mod rig;

use std::{fs, path::PathBuf};

use rig::{Up, llmctl};

/// The path that stands in a message right behind these words.
fn behind(said: &str, words: &str) -> PathBuf {
    let rest = said.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {said}")).1;
    PathBuf::from(rest.split([';', ' ', ',']).next().expect("a path"))
}

#[test]
fn a_broken_store_says_how_to_go_on_from_an_export() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let state_dir = state.to_str().expect("a plain path");
    let arguments = ["--no-discover", "--state-dir", state_dir];
    let up = Up::start(&arguments);
    for line in [
        "backend add one http://127.0.0.1:9 --max-concurrency 3 --no-wait",
        "route add fast --exact gpt-4o --to m",
    ] {
        let (code, stdout, stderr) = up.llmctl(line);
        assert!(code == 0, "{line}: {code}\n{stdout}\n{stderr}");
    }
    let exported = up.llmctl("export").1;
    assert!(exported.contains("gpt-4o") && exported.contains("127.0.0.1:9"), "{exported}");
    assert_eq!(up.stop(), Some(0));

    let store = state.join("control/store");
    for entry in fs::read_dir(&store).expect("a store") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::write(path, [0xaa; 999]).expect("broken");
        }
    }
    let again = format!(
        "up --listen 127.0.0.1:0 --control-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --no-discover --state-dir {state_dir}"
    );
    let (code, _, said) = llmctl(&again);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("llmctl export") && said.contains("llmctl apply"), "{said}");
    let aside = behind(&said, "move ");
    assert_eq!(aside, state.join("control"), "{said}");
    fs::rename(&aside, folder.path().join("aside")).expect("moved aside");

    let up = Up::start(&arguments);
    let file = folder.path().join("fleet.yaml");
    fs::write(&file, &exported).expect("written");
    let (code, stdout, stderr) = up.llmctl(&format!("apply -f {}", file.display()));
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert_eq!(up.llmctl("export").1, exported);
    assert_eq!(up.stop(), Some(0));
}
