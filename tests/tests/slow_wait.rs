//! A thousand wait: the operator is answered as fast as ever, and the queue drains in step with its length.

mod slow_parts;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proto::v1;
use serde_json::json;
use slow_parts::{
    COMPLETION, PATIENCE, message, ok,
    planes::{Manage, address, control, data, manage},
    post,
};
use tests::{process::Process, rig};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

const WAITING: usize = 1000;
/// Clients that connect at the same time: more than a listener's backlog would only wait.
const CONNECTING: usize = 64;
const QUESTIONS: usize = 200;
const ANSWERED_WITHIN: Duration = Duration::from_millis(50);
/// Twice the queue takes twice the time, and what the machine adds.
const RATIO_MAX: f64 = 2.4;
/// Live timings on a shared machine: the best of so many runs counts.
const TRIES: usize = 3;

/// A vLLM of one slot that answers nothing before it is let go.
struct Server {
    url: String,
    go: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind(rig::any_port()).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (go, told) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, told.clone()));
            }
        });
        Self { url, go, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, mut go: watch::Receiver<bool>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some((head, body)) = message(&mut stream, &mut buffer).await? {
        let page = match head.split(' ').nth(1).unwrap_or_default() {
            "/v1/models" => {
                json!({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "vllm"}]})
                    .to_string()
            }
            "/version" => json!({"version": "0.11.0"}).to_string(),
            _ if !String::from_utf8_lossy(&body).contains("hi") => String::new(),
            _ => {
                // An error means that the test is over.
                let _ = go.wait_for(|go| *go).await;
                COMPLETION.to_owned()
            }
        };
        stream.write_all(&ok("", &page)).await?;
    }
    Ok(())
}

struct Planes {
    server: Server,
    addr: String,
    admin: String,
    manage: Manage,
    _processes: [Process; 2],
    _folder: tempfile::TempDir,
}

impl Planes {
    async fn start() -> Self {
        let (folder, listen, server) =
            (tempfile::tempdir().expect("a temporary folder"), address(), Server::start().await);
        let plane = control(&listen, &folder.path().join("control")).0;
        let mut manage = manage(&listen).await;
        let backend = Some(v1::Backend {
            name: "one".to_owned(),
            url: server.url.clone(),
            kind: v1::Kind::Vllm as i32,
            max_concurrency: 1,
            dialects: vec![v1::Dialect::OpenaiChat as i32],
            ..v1::Backend::default()
        });
        manage.create_backend(v1::CreateBackendRequest { backend }).await.expect("added");
        let (data, addr, admin) = data(&listen, &folder.path().join("data"));
        let planes = Self { server, addr, admin, manage, _processes: [plane, data], _folder: folder };
        planes.until(|view| view["backends"][0]["healthy"] == true).await;
        planes
    }

    async fn until(&self, right: impl Fn(&serde_json::Value) -> bool) {
        let (client, began) = (rig::client(), Instant::now());
        loop {
            let view = client.get(format!("http://{}/view", self.admin)).send().await.expect("an answer");
            let view = view.json().await.expect("JSON");
            if right(&view) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{view}");
        }
    }

    /// One runs, and so many wait behind it.
    async fn wait(&self, waiting: usize) -> Vec<TcpStream> {
        self.server.go.send_replace(false);
        let mut clients = Vec::new();
        while clients.len() <= waiting {
            let more = (0..CONNECTING.min(waiting + 1 - clients.len())).map(|_| self.ask());
            clients.extend(join_all(more).await);
        }
        self.until(|view| view["waiting"] == waiting && view["backends"][0]["busy"] == 1).await;
        clients
    }

    async fn ask(&self) -> TcpStream {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
        let mut client = TcpStream::connect(&self.addr).await.expect("it listens");
        client.write_all(&post("/v1/chat/completions", "", &body)).await.expect("it reads");
        client
    }

    /// Lets the server go, and says how long it takes until all are answered.
    async fn drain(&self, clients: Vec<TcpStream>) -> Duration {
        let began = Instant::now();
        self.server.go.send_replace(true);
        let answers = clients.into_iter().map(|mut client| async move {
            let answer = timeout(PATIENCE, message(&mut client, &mut Vec::new())).await.expect("in time");
            let (head, _) = answer.expect("a whole answer").expect("an answer");
            assert!(head.starts_with("http/1.1 200"), "{head}");
        });
        join_all(answers).await;
        began.elapsed()
    }

    /// How long the data plane's admin listener and the management API take, the longest in a hundred of each.
    async fn answers(&self) -> (Duration, Duration) {
        let (client, mut manage) = (rig::client(), self.manage.clone());
        let (mut admin, mut api) = (Vec::new(), Vec::new());
        for number in 0..QUESTIONS {
            let page = ["healthz", "readyz", "metrics", "view"][number % 4];
            let began = Instant::now();
            let answer = client.get(format!("http://{}/{page}", self.admin)).send().await.expect("an answer");
            assert_eq!(answer.status(), 200, "{page}");
            answer.bytes().await.expect("a body");
            admin.push(began.elapsed());
            let began = Instant::now();
            match number % 2 {
                0 => drop(manage.status(v1::StatusRequest {}).await.expect("a status")),
                _ => drop(manage.list_backends(v1::ListBackendsRequest::default()).await.expect("a list")),
            }
            api.push(began.elapsed());
        }
        (percentile(admin), percentile(api))
    }
}

fn percentile(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiting_delay_no_answer_to_the_operator() {
    let planes = Planes::start().await;
    let mut runs = Vec::new();
    for _ in 0..TRIES {
        let without = planes.answers().await;
        let clients = planes.wait(WAITING).await;
        let with = planes.answers().await;
        planes.until(|view| view["waiting"] == WAITING).await;
        planes.drain(clients).await;
        println!("p99 of admin and management: {with:?} while {WAITING} wait, {without:?} while none does");
        if with.0 < ANSWERED_WITHIN && with.1 < ANSWERED_WITHIN {
            return;
        }
        runs.push((with, without));
    }
    panic!("too slow while {WAITING} wait, and beside it while none does: {runs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_drains_in_step_with_its_length() {
    let planes = Planes::start().await;
    let mut runs = Vec::new();
    for _ in 0..TRIES {
        let (few, many) = (planes.wait(WAITING / 2).await, WAITING);
        let few = planes.drain(few).await;
        let many = planes.drain(planes.wait(many).await).await;
        println!("{} drain in {few:?}, {WAITING} in {many:?}", WAITING / 2);
        if many.as_secs_f64() <= RATIO_MAX * few.as_secs_f64() {
            return;
        }
        runs.push((few, many));
    }
    panic!("not linear: {runs:?}");
}
