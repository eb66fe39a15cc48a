//! The management API over real gRPC: codes, faults, revisions; health, reflection and pages on the same port.

#![allow(clippy::unwrap_used, reason = "a test")]

mod rig;

use proto::v1::{self, applied_resource::Outcome};
use rig::{Fake, backend, channel, manage, route, start, within};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test]
async fn every_refusal_has_its_code_and_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let create = |name: &str, url: &str| v1::CreateBackendRequest { backend: Some(backend(name, url)) };
    let bad = client.create_backend(create("Web", "ftp://x")).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    assert_eq!(bad.message().lines().count(), 2, "all faults at once: {}", bad.message());
    assert!(bad.message().contains("backends[0].url: \"ftp://x\" is not allowed: http or https"));
    let empty = client.create_backend(v1::CreateBackendRequest { backend: None }).await.unwrap_err();
    assert_eq!((empty.code(), empty.message()), (Code::InvalidArgument, "backend: missing"));
    client.create_backend(create("web", "http://127.0.0.1:9")).await.unwrap();
    let twice = client.create_backend(create("web", "http://127.0.0.1:9")).await.unwrap_err();
    assert_eq!(twice.code(), Code::AlreadyExists);
    let same = client.create_backend(create("other", "http://localhost:9/v1")).await.unwrap_err();
    assert_eq!(same.code(), Code::AlreadyExists);
    assert!(same.message().contains("backend \"web\" has the URL"), "{}", same.message());
    let missing = client.get_backend(v1::GetBackendRequest { name: "x".to_owned() }).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "backend \"x\" does not exist"));
    let update = v1::UpdateBackendRequest { backend: Some(backend("web", "http://h")), expected_revision: 9 };
    let stale = client.update_backend(update).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    assert!(stale.message().contains("revision 1") && stale.message().contains("demanded 9"));
    client.create_route(v1::CreateRouteRequest { route: Some(route("r", "m", "web")) }).await.unwrap();
    let delete = v1::DeleteBackendRequest { name: "web".to_owned(), expected_revision: 0 };
    let used = client.delete_backend(delete).await.unwrap_err();
    assert_eq!(used.code(), Code::FailedPrecondition);
    assert!(used.message().contains("route \"r\""), "{}", used.message());
    let dangling = client.create_route(v1::CreateRouteRequest { route: Some(route("s", "n", "nope")) }).await;
    assert_eq!(dangling.unwrap_err().code(), Code::InvalidArgument);
    let status = client.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.revision, 2, "nothing refused has changed anything");
    running.stop().await;
}

#[tokio::test]
async fn resources_live_their_lives() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let config = v1::Config {
        backends: vec![backend("b", "http://127.0.0.1:9"), backend("a", "http://127.0.0.1:9/a/v1")],
        routes: vec![route("r", "m", "a")],
        scheduling: None,
    };
    let apply = |dry_run| v1::ApplyRequest { config: Some(config.clone()), dry_run };
    let tried = client.apply(apply(true)).await.unwrap().into_inner();
    assert_eq!((tried.revision, tried.resources.len()), (0, 3));
    assert!(client.list_backends(v1::ListBackendsRequest {}).await.unwrap().into_inner().backends.is_empty());
    let applied = client.apply(apply(false)).await.unwrap().into_inner();
    assert_eq!(applied.revision, 1);
    assert!(applied.resources.iter().all(|resource| resource.outcome() == Outcome::Created));
    let again = client.apply(apply(false)).await.unwrap().into_inner();
    assert_eq!(again.revision, 1);
    assert!(again.resources.iter().all(|resource| resource.outcome() == Outcome::Unchanged));
    let listed = client.list_backends(v1::ListBackendsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.backends.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let drain = v1::DrainBackendRequest { name: "a".to_owned(), expected_revision: 1 };
    let drained = client.drain_backend(drain).await.unwrap().into_inner();
    assert_eq!((drained.draining, drained.revision), (true, 2));
    let undrain = v1::UndrainBackendRequest { name: "a".to_owned(), expected_revision: 2 };
    assert!(!client.undrain_backend(undrain).await.unwrap().into_inner().draining);
    let routes = client.list_routes(v1::ListRoutesRequest {}).await.unwrap().into_inner();
    assert_eq!((routes.revision, routes.routes.len()), (3, 1));
    let delete = v1::DeleteRouteRequest { name: "r".to_owned(), expected_revision: 1 };
    assert_eq!(client.delete_route(delete).await.unwrap().into_inner().revision, 4);
    let delete = v1::DeleteBackendRequest { name: "a".to_owned(), expected_revision: 3 };
    assert_eq!(client.delete_backend(delete).await.unwrap().into_inner().revision, 5);
    running.stop().await;
}

#[tokio::test]
async fn the_figures_of_scheduling_are_read_written_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let none = client.get_scheduling(v1::GetSchedulingRequest {}).await.unwrap().into_inner();
    assert_eq!(none, v1::Scheduling::default());
    let set = v1::Scheduling { hold_percent: Some(0), ..v1::Scheduling::default() };
    let update = |scheduling: &v1::Scheduling, expected_revision| v1::UpdateSchedulingRequest {
        scheduling: Some(*scheduling),
        expected_revision,
    };
    let written = client.update_scheduling(update(&set, 0)).await.unwrap().into_inner();
    assert_eq!(written, v1::Scheduling { revision: 1, ..set });
    let stale = client.update_scheduling(update(&none, 5)).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let faulty = v1::Scheduling { hold_percent: Some(1001), ..set };
    let refused = client.update_scheduling(update(&faulty, 0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("scheduling.hold_percent: 1001 is not allowed"), "{refused}");
    assert_eq!(client.get_scheduling(v1::GetSchedulingRequest {}).await.unwrap().into_inner(), written);
    running.stop().await;
}

#[tokio::test]
async fn of_two_writers_with_one_revision_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let created = v1::CreateBackendRequest { backend: Some(backend("web", "http://127.0.0.1:9")) };
    client.create_backend(created).await.unwrap();
    let tasks: Vec<_> = (1..=16)
        .map(|priority| {
            let mut client = client.clone();
            let mut changed = backend("web", "http://127.0.0.1:9");
            changed.priority = priority;
            let update = v1::UpdateBackendRequest { backend: Some(changed), expected_revision: 1 };
            tokio::spawn(async move { client.update_backend(update).await.map_err(|fault| fault.code()) })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(code) => assert_eq!(code, Code::Aborted),
        }
    }
    assert_eq!(won, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_probe_says_what_it_found_and_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m"]).await;
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let mut probe = async |url: String| {
        let request = v1::ProbeBackendRequest { backend: Some(backend("", &url)) };
        client.probe_backend(request).await.unwrap().into_inner()
    };
    let found = probe(fake.url()).await;
    let status = found.status.unwrap();
    assert_eq!((status.health(), status.kind()), (v1::Health::Healthy, v1::Kind::Openai));
    let spoken =
        found.evidence.iter().any(|line| line == "POST /v1/chat/completions: 400: speaks openai-chat");
    assert!(spoken, "{:#?}", found.evidence);
    let nothing = probe("http://127.0.0.1:9".to_owned()).await.status.unwrap();
    assert_eq!(nothing.health(), v1::Health::Unhealthy);
    assert_eq!(nothing.reason, "cannot connect: connection refused");
    running.stop().await;
}

#[tokio::test]
async fn health_reflection_and_pages_share_the_port() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let mut health = HealthClient::new(channel(running.addr).await);
    for service in ["", "llmbalancer.v1.Management", "llmbalancer.v1.Follow"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service:?} serves");
    }
    let mut reflection = ServerReflectionClient::new(channel(running.addr).await);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let stream = tokio_stream::once(list);
    let mut answers = reflection.server_reflection_info(stream).await.unwrap().into_inner();
    let answer = within("reflection", answers.message()).await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else { panic!() };
    let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"llmbalancer.v1.Management".to_owned()), "{names:?}");
    drop(answers);
    let _ = rustls::crypto::ring::default_provider().install_default();
    for (page, want) in [
        ("healthz", "ok"),
        ("readyz", "ready"),
        ("metrics", "llmb_backends{health=\"healthy\"} 0"),
        ("metrics", "llmb_commit_seconds_count"),
    ] {
        let page = reqwest::get(format!("http://{}/{page}", running.addr)).await.unwrap();
        assert_eq!(page.status(), 200);
        let text = page.text().await.unwrap();
        assert!(text.contains(want), "{text}");
    }
    running.stop().await;
}
