//! What was acknowledged survives kill -9 of the control plane.

#![allow(clippy::unwrap_used, reason = "a test")]

mod rig;

use proto::v1;
use rig::{
    backend, manage,
    process::{Process, command},
    within,
};

#[tokio::test]
async fn acknowledged_changes_survive() {
    const ROUNDS: u64 = 4;
    let dir = tempfile::tempdir().unwrap();
    let mut acked = std::collections::BTreeMap::new();
    let mut lineage = String::new();
    for round in 1..=ROUNDS {
        let Process { mut child, addr, .. } = Process::start(command(dir.path())).await;
        let mut client = manage(addr).await;
        let status = client.status(v1::StatusRequest {}).await.unwrap().into_inner();
        let version = status.version.unwrap();
        assert_eq!(version.epoch, round, "each start counts");
        assert!(lineage.is_empty() || lineage == version.lineage);
        lineage = version.lineage;
        let there: std::collections::BTreeMap<_, _> =
            status.backends.into_iter().map(|backend| (backend.name, backend.revision)).collect();
        for (name, revision) in &acked {
            assert_eq!(there.get(name), Some(revision), "{name} was acknowledged in an earlier round");
        }
        // Four writers until the kill; what they were told counts.
        let (sender, mut receiver) = tokio::sync::mpsc::channel(64);
        for writer in 0..4 {
            let (mut client, sender) = (client.clone(), sender.clone());
            tokio::spawn(async move {
                for n in 0..1000 {
                    let name = format!("r{round}-{writer}-{n}");
                    let mut one = backend(&name, &format!("http://127.0.0.1:9/{name}"));
                    one.draining = true;
                    let created =
                        client.create_backend(v1::CreateBackendRequest { backend: Some(one) }).await;
                    let Ok(created) = created else { return };
                    if sender.send((name, created.into_inner().revision)).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut seen = 0;
        while let Some((name, revision)) = within("an answer", receiver.recv()).await {
            acked.insert(name, revision);
            seen += 1;
            if seen == 10 * round {
                child.start_kill().unwrap();
            }
        }
        assert!(seen >= 10 * round);
        within("the end", child.wait()).await.unwrap();
    }
}

#[tokio::test]
async fn a_signal_ends_it_cleanly_and_a_second_process_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let Process { mut child, .. } = Process::start(command(dir.path())).await;
    let second = command(dir.path()).output();
    let second = within("the second", second).await.unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another control plane uses the state directory"), "{said}");
    let pid = child.id().unwrap().to_string();
    let sent = within("the signal", tokio::process::Command::new("kill").args(["-TERM", &pid]).status())
        .await
        .unwrap();
    assert!(sent.success());
    let ended = within("the end", child.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}
