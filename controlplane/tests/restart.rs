//! What a restart of the control plane knows of backends that are down just then.

#![allow(clippy::unwrap_used, reason = "a test")]

mod rig;

use proto::v1::{self, Health};
use rig::{Fake, Follower, backend, manage, start, within};

fn healthy(snapshot: &v1::Snapshot) -> bool {
    snapshot.backends.iter().any(|backend| backend.health() == Health::Healthy)
}

#[tokio::test]
async fn what_a_backend_served_is_known_while_it_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m-2", "m-1"]).await;
    fake.set("GET /props", 200, r#"{"total_slots":3,"build_info":"b1"}"#);
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let created = v1::CreateBackendRequest { backend: Some(backend("web", &fake.url())) };
    client.create_backend(created).await.unwrap();
    let mut follower = Follower::join(running.addr, "one").await;
    let before = follower.snapshot_with("healthy", healthy).await;
    running.stop().await;

    for page in ["GET /v1/models", "GET /props", "POST /v1/chat/completions"] {
        fake.set(page, 500, "{}");
    }
    for _ in 0..2 {
        let running = start(dir.path()).await;
        let first = Follower::join(running.addr, "one").await.snapshot().await;
        let (was, is) = (&before.backends[0], &first.backends[0]);
        assert_eq!(is.health(), Health::Unhealthy);
        assert!(is.reason.contains("500"), "{}", is.reason);
        assert_eq!((is.kind(), is.slots, is.slots_assumed), (v1::Kind::Llamacpp, 3, false));
        assert_eq!(is.dialects, was.dialects);
        let names: Vec<_> = is.models.iter().map(|model| (model.name.as_str(), model.resident)).collect();
        assert_eq!(names, [("m-1", false), ("m-2", false)], "nothing is known to be loaded");
        assert_eq!(first.revision, 1, "what is found is no change of the configuration");
        running.stop().await;
    }
}

#[tokio::test]
async fn what_another_url_served_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m"]).await;
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    for name in ["gone", "moved"] {
        let url = format!("{}/{name}", fake.url());
        fake.set(&format!("GET /{name}/v1/models"), 200, r#"{"object":"list","data":[{"id":"m"}]}"#);
        fake.set(
            &format!("POST /{name}/v1/chat/completions"),
            400,
            r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":null}}"#,
        );
        let created = v1::CreateBackendRequest { backend: Some(backend(name, &url)) };
        client.create_backend(created).await.unwrap();
    }
    let mut follower = Follower::join(running.addr, "one").await;
    let both = |snapshot: &v1::Snapshot| {
        snapshot.backends.len() == 2 && snapshot.backends.iter().all(|one| one.health() == Health::Healthy)
    };
    follower.snapshot_with("both healthy", both).await;
    let moved = backend("moved", "http://127.0.0.1:9");
    let update = v1::UpdateBackendRequest { backend: Some(moved), expected_revision: 0 };
    client.update_backend(update).await.unwrap();
    let delete = v1::DeleteBackendRequest { name: "gone".to_owned(), expected_revision: 0 };
    client.delete_backend(delete).await.unwrap();
    let again = v1::CreateBackendRequest { backend: Some(backend("gone", "http://127.0.0.1:9/p")) };
    client.create_backend(again).await.unwrap();
    running.stop().await;

    let running = start(dir.path()).await;
    let first = within("a snapshot", async { Follower::join(running.addr, "one").await.snapshot().await });
    for backend in first.await.backends {
        assert!(backend.models.is_empty() && backend.kind() == v1::Kind::Unspecified, "{}", backend.name);
    }
    running.stop().await;
}
