//! Probing over real HTTP: logins, stalls, sizes, redirects, and secrets that stay secret.

#![allow(clippy::unwrap_used, reason = "a test")]

mod rig;

use std::net::SocketAddr;

use controlplane::app::{self, Settings};
use proto::v1::{self, Health};
use rig::{
    DEADLINE, Fake, backend, manage,
    process::{Process, command},
    settings, start, within,
};
use tokio::{io::AsyncWriteExt, net::TcpListener};

const OPENAI_ERROR: &str =
    r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":null}}"#;

async fn probed(addr: SocketAddr, backend: v1::Backend) -> v1::BackendStatus {
    let request = v1::ProbeBackendRequest { backend: Some(backend) };
    let answer = within("a probe", manage(addr).await.probe_backend(request)).await;
    answer.unwrap().into_inner().status.unwrap()
}

/// A server of raw bytes: each connection gets `answer`, then stays open or is closed.
async fn raw(answer: Vec<u8>, close: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // A client that has left takes no more bytes.
            let _ = stream.write_all(&answer).await;
            if !close {
                open.push(stream);
            }
        }
    });
    url
}

#[tokio::test]
async fn hostile_servers_are_nothing_in_words_and_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n{}", " ".repeat(10 << 20));
    let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}\r\n", "aaaaa");
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (answer, close, want) in [
        (String::new(), false, "no answer within 1000 ms"),
        (endless, false, "no answer within 1000 ms"),
        (large, false, "larger than 4194304 bytes"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), true, "broke off"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned(), true, "broke off"),
        (String::new(), true, "broke off"),
        (redirect.to_owned(), true, "GET /v1/models answered 302"),
    ] {
        let status = probed(running.addr, backend("", &raw(answer.into_bytes(), close).await)).await;
        assert_eq!(status.health(), Health::Unhealthy, "{want}");
        assert!(status.reason.contains(want), "{want}: {}", status.reason);
    }
    running.stop().await;
}

/// Ten that take connections and never answer: each is asked beside the others, and who answers is asked on and on.
#[tokio::test]
async fn servers_that_swallow_probes_delay_no_other() {
    const HOLES: usize = 10;
    const MORE: usize = 20;
    let dir = tempfile::tempdir().unwrap();
    let patient = Settings { probe_timeout: 10 * DEADLINE, ..settings(dir.path()) };
    let running = within("start", app::start(patient)).await.unwrap();
    let mut client = manage(running.addr).await;
    let mut add = async |name: &str, url: &str| {
        let request = v1::CreateBackendRequest { backend: Some(backend(name, url)) };
        within("a backend", client.create_backend(request)).await.unwrap();
    };
    for hole in 0..HOLES {
        add(&format!("hole-{hole}"), &raw(Vec::new(), false).await).await;
    }
    let good = Fake::openai(&["m"]).await;
    add("good", &good.url()).await;
    let probes = || good.seen().iter().filter(|(label, _)| label == "GET /v1/models").count();
    within("probe after probe", async {
        while probes() < MORE {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let listed = client.list_backends(v1::ListBackendsRequest::default()).await.unwrap().into_inner();
    let health = |of: Health| {
        let rows = listed.backends.iter().filter_map(|backend| backend.status.as_ref());
        rows.filter(|status| status.health() == of).count()
    };
    assert_eq!((health(Health::Healthy), health(Health::Unspecified)), (1, HOLES), "each is asked still");
    running.stop().await;
}

#[tokio::test]
async fn a_credential_is_sent_as_each_kind_wants_and_read_afresh() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m"]).await;
    let key = dir.path().join("key");
    std::fs::write(&key, "first-secret\n").unwrap();
    let running = start(&dir.path().join("state")).await;
    let mut wanted = backend("web", &fake.url());
    wanted.credential = format!("file:{}", key.display());
    probed(running.addr, wanted.clone()).await;
    for (label, headers) in fake.seen() {
        let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let (bearer, anthropic, gemini) = (said("authorization"), said("x-api-key"), said("x-goog-api-key"));
        let secret = Some("first-secret".to_owned());
        match label.as_str() {
            "POST /v1/messages" | "GET /v1/models?limit=1000" => {
                assert_eq!((bearer, anthropic, gemini), (None, secret, None), "{label}");
                assert_eq!(said("anthropic-version").as_deref(), Some("2023-06-01"));
            }
            "GET /v1beta/models?pageSize=1000" => {
                assert_eq!((bearer, anthropic, gemini), (None, None, secret))
            }
            _ => {
                assert_eq!((bearer.as_deref(), anthropic, gemini), (Some("Bearer first-secret"), None, None))
            }
        }
    }
    std::fs::write(&key, "second-secret").unwrap();
    probed(running.addr, wanted.clone()).await;
    let last = fake.seen().pop().unwrap().1;
    assert!(last.values().any(|value| value.to_str().unwrap().contains("second-secret")));
    std::fs::write(&key, "\n").unwrap();
    let status = probed(running.addr, wanted.clone()).await;
    assert_eq!(status.reason, format!("credential file:{}: empty", key.display()));
    wanted.credential = "env:LLMB_TEST_NOT_SET".to_owned();
    let status = probed(running.addr, wanted).await;
    assert!(
        status.reason.contains("env:LLMB_TEST_NOT_SET is not set in the environment of the control plane")
    );
    running.stop().await;
}

#[tokio::test]
async fn a_request_never_makes_a_server_generate() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(&[("POST /v1/chat/completions", 400, OPENAI_ERROR)]).await;
    let running = start(dir.path()).await;
    probed(running.addr, backend("", &fake.url())).await;
    for (label, headers) in fake.seen() {
        let length = headers.get("content-length").map_or("0", |value| value.to_str().unwrap());
        assert!(label.starts_with("GET ") || length == "2", "{label} has {length} bytes, {{}} has 2");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_it_is_now_is_found_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m"]).await;
    let running = start(dir.path()).await;
    let mut client = manage(running.addr).await;
    let created = v1::CreateBackendRequest { backend: Some(backend("web", &fake.url())) };
    client.create_backend(created).await.unwrap();
    let mut until = async |what: &str, want: &dyn Fn(&v1::BackendStatus) -> bool| {
        within(what, async {
            loop {
                let request = v1::GetBackendRequest { name: "web".to_owned() };
                let status = client.get_backend(request).await.unwrap().into_inner().status.unwrap();
                if want(&status) {
                    return status;
                }
            }
        })
        .await
    };
    until("up", &|status| status.health() == Health::Healthy).await;
    fake.set(
        "GET /v1/models",
        503,
        r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
    );
    let down = until("down", &|status| status.health() == Health::Unhealthy).await;
    assert_eq!(down.reason, "loading its model");
    assert_eq!(down.models.len(), 1, "what it served is still known");
    fake.set("GET /props", 200, r#"{"total_slots":3,"build_info":"b1"}"#);
    fake.models(&["m", "n"]);
    let back = until("back", &|status| status.health() == Health::Healthy).await;
    assert_eq!((back.kind(), back.slots, back.slots_assumed), (v1::Kind::Llamacpp, 3, false));
    fake.set("GET /props", 200, r#"{"total_slots":5,"build_info":"b1"}"#);
    until("other slots", &|status| status.slots == 5).await;
    running.stop().await;
}

#[tokio::test]
async fn going_away_and_coming_back_are_warnings_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m"]).await;
    let Process { mut child, addr, log } = Process::start(command(dir.path())).await;
    let mut client = manage(addr).await;
    let created = v1::CreateBackendRequest { backend: Some(backend("web", &fake.url())) };
    client.create_backend(created).await.unwrap();
    for (status, want) in [(200, Health::Healthy), (500, Health::Unhealthy), (200, Health::Healthy)] {
        fake.set("GET /v1/models", status, r#"{"object":"list","data":[{"id":"m"}]}"#);
        within("the health", async {
            loop {
                let request = v1::GetBackendRequest { name: "web".to_owned() };
                let seen = client.get_backend(request).await.unwrap().into_inner().status.unwrap();
                if seen.health() == want {
                    return;
                }
            }
        })
        .await;
    }
    child.start_kill().unwrap();
    let log = within("the log", log).await.unwrap();
    for part in ["backend web is unhealthy: ", "backend web is healthy again"] {
        assert!(log.iter().any(|line| line.contains("WARN") && line.contains(part)), "{part}: {log:#?}");
    }
}

#[tokio::test]
async fn no_secret_is_in_the_logs_below_trace() {
    const SECRET: &str = "sk-do-not-tell-7391";
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::openai(&["m"]).await;
    let mut command = command(dir.path());
    command.env("LLMB_TEST_SECRET", SECRET);
    let Process { mut child, addr, log } = Process::start(command).await;
    let mut client = manage(addr).await;
    let mut wanted = backend("web", &fake.url());
    wanted.credential = "env:LLMB_TEST_SECRET".to_owned();
    client.create_backend(v1::CreateBackendRequest { backend: Some(wanted) }).await.unwrap();
    let mistake = v1::Backend { credential: SECRET.to_owned(), ..backend("oops", "http://h") };
    let refused =
        client.create_backend(v1::CreateBackendRequest { backend: Some(mistake) }).await.unwrap_err();
    assert!(!refused.message().contains(SECRET));
    let carries = |headers: &axum::http::HeaderMap| {
        headers.values().any(|value| value.to_str().is_ok_and(|text| text.contains(SECRET)))
    };
    within("a few probes", async {
        while fake.seen().iter().filter(|(_, headers)| carries(headers)).count() < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let status = client.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert!(!format!("{status:?}").contains(SECRET));
    child.start_kill().unwrap();
    let log = within("the log", log).await.unwrap();
    assert!(log.iter().any(|line| line.contains("backend web is healthy")), "the log was read");
    let told: Vec<_> = log.iter().filter(|line| line.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:#?}");
}
