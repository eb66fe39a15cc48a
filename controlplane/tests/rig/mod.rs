//! What the end-to-end tests share: a control plane on a directory of its own, clients, a fake HTTP server.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod process;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::IntoResponse,
};
use controlplane::app::{self, Running, Settings};
use proto::v1::{
    self, FollowDown, FollowUp, Hello, follow_client::FollowClient, follow_down, follow_up,
    management_client::ManagementClient,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// Nothing here waits longer.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

pub fn settings(dir: &Path) -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        insecure_listen: false,
        state_dir: dir.to_owned(),
        probe_interval: Duration::from_millis(50),
        probe_timeout: Duration::from_millis(1000),
        reclaim_silent_after: None,
    }
}

pub async fn start(dir: &Path) -> Running {
    within("start", app::start(settings(dir))).await.expect("it starts")
}

pub async fn channel(addr: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{addr}")).expect("a URL");
    within("connect", endpoint.connect()).await.expect("it listens")
}

pub async fn manage(addr: SocketAddr) -> ManagementClient<Channel> {
    ManagementClient::new(channel(addr).await)
}

pub fn backend(name: &str, url: &str) -> v1::Backend {
    v1::Backend { name: name.to_owned(), url: url.to_owned(), ..v1::Backend::default() }
}

pub fn route(name: &str, exact: &str, backend: &str) -> v1::Route {
    v1::Route {
        name: name.to_owned(),
        r#match: Some(v1::route::Match::Exact(exact.to_owned())),
        targets: vec![v1::Target { model: "m".to_owned(), backend: backend.to_owned(), weight: None }],
        ..v1::Route::default()
    }
}

/// A data plane that follows.
pub struct Follower {
    pub up: mpsc::Sender<FollowUp>,
    pub down: Streaming<FollowDown>,
}

impl Follower {
    pub async fn join(addr: SocketAddr, plane: &str) -> Self {
        Self::try_join(addr, Self::hello(plane, 1)).await.expect("it may follow")
    }

    /// What the `incarnation`th process of a data plane says.
    pub fn hello(plane: &str, incarnation: u64) -> Hello {
        let process = format!("{plane}-{incarnation}");
        Hello { plane_id: plane.to_owned(), incarnation, process, locked: true, ..Hello::default() }
    }

    pub async fn try_join(addr: SocketAddr, hello: Hello) -> Result<Self, tonic::Status> {
        let (up, receiver) = mpsc::channel(8);
        up.send(FollowUp { message: Some(follow_up::Message::Hello(hello)) }).await.expect("room");
        let mut client = FollowClient::new(channel(addr).await);
        let down = within("follow", client.follow(ReceiverStream::new(receiver))).await;
        Ok(Follower { up, down: down?.into_inner() })
    }

    pub async fn next(&mut self) -> follow_down::Message {
        let message = within("a message", self.down.message()).await.expect("the stream lives");
        message.expect("the stream goes on").message.expect("a message")
    }

    pub async fn snapshot(&mut self) -> v1::Snapshot {
        match self.next().await {
            follow_down::Message::Snapshot(snapshot) => snapshot,
            other => panic!("no snapshot: {other:?}"),
        }
    }

    /// Follows, from a whole snapshot on, until `want` holds of what it has.
    pub async fn snapshot_with(&mut self, what: &str, want: impl Fn(&v1::Snapshot) -> bool) -> v1::Snapshot {
        let first = self.snapshot().await;
        self.follow_with(first, what, want).await
    }

    /// Follows from `has` on, until `want` holds of what it has.
    pub async fn follow_with(
        &mut self,
        mut has: v1::Snapshot,
        what: &str,
        want: impl Fn(&v1::Snapshot) -> bool,
    ) -> v1::Snapshot {
        within(what, async {
            while !want(&has) {
                has = match self.next().await {
                    follow_down::Message::Snapshot(whole) => whole,
                    follow_down::Message::Delta(delta) => proto::apply(&has, delta).expect("it fits"),
                    follow_down::Message::EngineLoads(_) | follow_down::Message::Beat(_) => has,
                };
            }
            has
        })
        .await
    }

    pub async fn acknowledge(&self, snapshot: &v1::Snapshot) {
        self.say(follow_up::Message::Ack(v1::Ack { version: snapshot.version.clone(), unkept: false })).await;
    }

    pub async fn say(&self, message: follow_up::Message) {
        self.up.send(FollowUp { message: Some(message) }).await.expect("the stream lives");
    }
}

type Pages = Arc<Mutex<BTreeMap<String, (u16, String)>>>;
type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A server that answers from a table, else 404.
pub struct Fake {
    pub addr: SocketAddr,
    pages: Pages,
    seen: Seen,
}

impl Fake {
    pub async fn start(pages: &[(&str, u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let (shared, seen) = (Pages::default(), Seen::default());
        let fake = Fake { addr, pages: Arc::clone(&shared), seen: Arc::clone(&seen) };
        for (page, status, body) in pages {
            fake.set(page, *status, body);
        }
        let router = Router::new().fallback(answer).with_state((shared, seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    /// A generic OpenAI-compatible server.
    pub async fn openai(models: &[&str]) -> Self {
        let fake = Self::start(&[(
            "POST /v1/chat/completions",
            400,
            r#"{"error":{"message":"messages: missing","type":"invalid_request_error","param":"messages","code":null}}"#,
        )])
        .await;
        fake.models(models);
        fake
    }

    pub fn models(&self, models: &[&str]) {
        let data: Vec<_> = models
            .iter()
            .map(|id| serde_json::json!({"id": id, "object": "model", "owned_by": "x"}))
            .collect();
        self.set("GET /v1/models", 200, &serde_json::json!({"object": "list", "data": data}).to_string());
    }

    pub fn set(&self, page: &str, status: u16, body: &str) {
        self.pages.lock().expect("whole").insert(page.to_owned(), (status, body.to_owned()));
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn seen(&self) -> Vec<(String, HeaderMap)> {
        self.seen.lock().expect("whole").clone()
    }
}

async fn answer(
    State((pages, seen)): State<(Pages, Seen)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    _body: Bytes,
) -> impl IntoResponse {
    let label = format!("{method} {uri}");
    {
        let mut seen = seen.lock().expect("whole");
        if seen.len() < 10_000 {
            seen.push((label.clone(), headers));
        }
    }
    let (status, body) = pages.lock().expect("whole").get(&label).cloned().unwrap_or((404, "no".to_owned()));
    (StatusCode::from_u16(status).expect("a status"), [(CONTENT_TYPE, "application/json")], body)
}
