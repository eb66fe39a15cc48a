//! The store under kill -9, a disk that takes no more and one that cannot be written to.

mod slow_parts;

use std::collections::BTreeMap;

use proto::v1;
use slow_parts::{
    PATIENCE,
    planes::{Manage, control, manage},
};
use tests::{
    process::{Process, field},
    rig,
};
use tokio::{sync::mpsc, time::timeout};

/// A backend all of whose fields say `state`, so that a half of it would show.
fn row(name: &str, state: u32) -> v1::Backend {
    v1::Backend {
        name: name.to_owned(),
        url: format!("http://127.0.0.1:9/{name}/state{state}"),
        max_concurrency: state + 1,
        priority: i32::try_from(state).expect("a small number"),
        max_input_tokens: 100 * state + 1,
        // It is never asked for anything.
        draining: true,
        ..v1::Backend::default()
    }
}

fn whole(found: &v1::Backend) -> bool {
    let state = u32::try_from(found.priority).unwrap_or_default();
    let right = row(&found.name, state);
    found.url == right.url
        && found.max_concurrency == right.max_concurrency
        && found.max_input_tokens == right.max_input_tokens
        && found.draining
}

/// What was acknowledged last of a name: its revision and its state.
type Acknowledged = BTreeMap<String, (u64, u32)>;

/// Creates and changes one backend after another until the control plane is gone; says what was acknowledged.
async fn write(mut client: Manage, prefix: String, told: mpsc::Sender<(String, u64, u32)>) {
    const CHANGES: u32 = 4;
    for number in 0..1000 {
        let name = format!("{prefix}-{number}");
        for state in 0..CHANGES {
            let backend = Some(row(&name, state));
            let answer = match state {
                0 => client.create_backend(v1::CreateBackendRequest { backend }).await,
                _ => client.update_backend(v1::UpdateBackendRequest { backend, ..Default::default() }).await,
            };
            let Ok(answer) = answer else { return };
            if told.send((name.clone(), answer.into_inner().revision, state)).await.is_err() {
                return;
            }
        }
    }
}

/// All that was acknowledged is there, as it was written; what was not is there wholly or not at all.
async fn check(client: &mut Manage, acknowledged: &Acknowledged) {
    let listed = client.list_backends(v1::ListBackendsRequest::default()).await.expect("a list").into_inner();
    let mut there = BTreeMap::new();
    for backend in listed.backends {
        assert!(whole(&backend), "half of a write: {backend:?}");
        there.insert(backend.name.clone(), backend);
    }
    for (name, (revision, state)) in acknowledged {
        let found = there.get(name).unwrap_or_else(|| panic!("{name} was acknowledged and is gone"));
        let now = u32::try_from(found.priority).expect("as written");
        // The next change may have been written when the kill came before its answer.
        let same = found.revision == *revision && now == *state;
        let next = found.revision > *revision && now == state + 1;
        assert!(same || next, "{name} was acknowledged at {revision} with state {state}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_acknowledged_writes_survive_fifty_kills() {
    const ROUNDS: usize = 50;
    const WRITES: usize = 20;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut acknowledged = Acknowledged::new();
    let mut writes = 0;
    for round in 0..ROUNDS {
        let (process, addr) = control("127.0.0.1:0", folder.path());
        let mut client = manage(&addr).await;
        check(&mut client, &acknowledged).await;
        let (told, mut answers) = mpsc::channel(64);
        for writer in 0..4 {
            tokio::spawn(write(client.clone(), format!("r{round}-{writer}"), told.clone()));
        }
        drop(told);
        let mut process = Some(process);
        let mut seen = 0;
        while let Some((name, revision, state)) = timeout(PATIENCE, answers.recv()).await.expect("an answer")
        {
            acknowledged.insert(name, (revision, state));
            seen += 1;
            if seen == WRITES {
                process.take().expect("it runs").kill();
            }
        }
        assert!(seen >= WRITES, "{seen} writes in round {round}");
        writes += seen;
    }
    let (_process, addr) = control("127.0.0.1:0", folder.path());
    check(&mut manage(&addr).await, &acknowledged).await;
    println!("{writes} acknowledged writes on {} backends, {ROUNDS} kills", acknowledged.len());
}

/// A disk that takes no more (a limit of the size of files, which a full disk looks like to the store) is told in words;
/// what was acknowledged is there when there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_more_is_told_and_loses_nothing() {
    const LIMITED: &str = r#"trap "" XFSZ; ulimit -f 1024; exec "$@""#;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().display().to_string();
    let args = ["--listen", "127.0.0.1:0", "--state-dir", &state];
    let process = Process::start_by(LIMITED, "llmb-control", &args);
    let addr = field(&process.line("its address", |line| line.contains("control plane runs")), "addr");
    let mut client = manage(&addr).await;
    let (told, mut answers) = mpsc::channel(64);
    for writer in 0..8 {
        tokio::spawn(write(client.clone(), format!("w{writer}"), told.clone()));
    }
    drop(told);
    let mut acknowledged = Acknowledged::new();
    while let Some((name, revision, state)) = timeout(PATIENCE, answers.recv()).await.expect("an answer") {
        acknowledged.insert(name, (revision, state));
    }
    let backend = Some(row("one-more", 0));
    let refused = client.create_backend(v1::CreateBackendRequest { backend }).await.expect_err("it is full");
    println!("after {} backends: {refused}", acknowledged.len());
    assert!(refused.message().contains("disk") || refused.message().contains("write"), "{refused}");
    let ready = rig::client().get(format!("http://{addr}/readyz")).send().await.expect("an answer");
    assert_eq!(ready.status(), 503);
    assert!(client.list_backends(v1::ListBackendsRequest::default()).await.is_ok(), "it can still be read");
    process.kill();
    let (_process, addr) = control("127.0.0.1:0", folder.path());
    check(&mut manage(&addr).await, &acknowledged).await;
}

/// A state directory on a file system that can only be read.
#[test]
fn a_directory_that_cannot_be_written_to_is_told() {
    // Where no name space of its own is allowed, rights have to do: they bind all but root.
    const READ_ONLY: &str = r#"
        if unshare -rm true; then
            exec unshare -rm bash -c 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"' "$STATE" "$@"
        fi
        chmod -R a-w "$STATE"; exec "$@""#;
    let folder = tempfile::tempdir().expect("a temporary folder");
    // A store from better days.
    assert!(control("127.0.0.1:0", folder.path()).0.terminate().success());
    let state = folder.path().display().to_string();
    let line = format!("STATE={state}; {READ_ONLY}");
    let process =
        Process::start_by(&line, "llmb-control", &["--listen", "127.0.0.1:0", "--state-dir", &state]);
    let told = process.line("why", |line| line.contains("cannot be used"));
    println!("{told}");
    assert!(
        told.contains(&state) && told.contains("give --state-dir a directory that can be written to"),
        "{told}"
    );
    assert_eq!(process.ended().code(), Some(1));
}
