//! A control plane of the test's making: one data plane follows it and gets each snapshot that is published by hand.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::v1::{
    self, FollowDown, FollowUp, follow_down,
    follow_server::{Follow, FollowServer},
    follow_up,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

use crate::rig::any_port;

/// Snapshots on their way at most; more wait to be published.
const AHEAD_MAX: usize = 1024;

/// What the data plane answered.
#[derive(Debug, Clone, Default)]
struct Answers {
    /// The newest version that it acknowledged.
    acked: u64,
    faults: Vec<String>,
    hello: Option<v1::Hello>,
    /// The term of the lead that it speaks of, and whether that is silent.
    lead: Option<(u64, bool)>,
    /// Whom it has proven dead.
    dead: Option<(String, u64)>,
}

/// A control plane that publishes what it is told to.
#[derive(Debug)]
pub struct Feed {
    /// Its URL, for the data plane's settings.
    pub url: String,
    messages: mpsc::Sender<Down>,
    seq: u64,
    answers: watch::Receiver<Answers>,
    task: JoinHandle<()>,
}

impl Feed {
    /// Starts one that nobody follows yet.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(any_port()).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (messages, waiting) = mpsc::channel(AHEAD_MAX);
        let (said, answers) = watch::channel(Answers::default());
        let service = Service { waiting: Mutex::new(Some(waiting)), said: Arc::new(said) };
        let serving = tonic::transport::Server::builder()
            .add_service(FollowServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.expect("it serves until it is dropped") });
        Self { url, messages, seq: 0, answers, task }
    }

    /// Publishes `snapshot` under the next number, which it gives.
    ///
    /// # Panics
    /// When the data plane has gone.
    pub async fn publish(&mut self, snapshot: v1::Snapshot) -> u64 {
        self.seq += 1;
        let snapshot = v1::Snapshot { version: version(self.seq), ..snapshot };
        self.say(follow_down::Message::Snapshot(snapshot)).await;
        self.seq
    }

    /// Publishes what differs from the snapshot `base`, under the next number, which it gives.
    ///
    /// # Panics
    /// When the data plane has gone.
    pub async fn change(&mut self, base: u64, delta: v1::Delta) -> u64 {
        self.seq += 1;
        let delta = v1::Delta { base: version(base), version: version(self.seq), ..delta };
        self.say(follow_down::Message::Delta(delta)).await;
        self.seq
    }

    async fn say(&self, message: follow_down::Message) {
        let message = Ok(FollowDown { message: Some(message) });
        self.messages.send(message).await.expect("the data plane follows");
    }

    /// Ends the stream with a status. Nobody can follow it after that.
    ///
    /// # Panics
    /// When the data plane has gone.
    pub async fn turn_away(&self, status: Status) {
        self.messages.send(Err(status)).await.expect("the data plane follows");
    }

    /// The faults that the data plane has answered with, once there are any.
    ///
    /// # Panics
    /// When there are none by `deadline`.
    pub async fn refused(&self, deadline: Duration) -> Vec<String> {
        let mut answers = self.answers.clone();
        let refused = answers.wait_for(|answers| !answers.faults.is_empty());
        let answers = tokio::time::timeout(deadline, refused).await.expect("an answer in time");
        answers.expect("the service lives as long as this").faults.clone()
    }

    /// What the data plane said of itself.
    ///
    /// # Panics
    /// When it has not come by `deadline`.
    pub async fn hello(&self, deadline: Duration) -> v1::Hello {
        self.told(deadline, |answers| answers.hello.clone()).await
    }

    /// The term whose lead the data plane says to be silent.
    ///
    /// # Panics
    /// When it says nothing of the kind by `deadline`.
    pub async fn silent(&self, deadline: Duration) -> u64 {
        self.told(deadline, |answers| answers.lead.filter(|(_, silent)| *silent)).await.0
    }

    /// The term whose lead has taken the data plane in.
    ///
    /// # Panics
    /// When none has by `deadline`.
    pub async fn led(&self, deadline: Duration) -> u64 {
        self.told(deadline, |answers| answers.lead.filter(|(_, silent)| !silent)).await.0
    }

    /// The data plane and incarnation that this one has proven dead.
    ///
    /// # Panics
    /// When it has proven none by `deadline`.
    pub async fn dead(&self, deadline: Duration) -> (String, u64) {
        self.told(deadline, |answers| answers.dead.clone()).await
    }

    async fn told<T>(&self, deadline: Duration, what: impl Fn(&Answers) -> Option<T>) -> T {
        let mut answers = self.answers.clone();
        let told = answers.wait_for(|answers| what(answers).is_some());
        let answers = tokio::time::timeout(deadline, told).await.expect("it is told in time");
        what(&answers.expect("the service lives as long as this")).expect("it was there just now")
    }

    /// The newest version that the data plane has acknowledged.
    #[must_use]
    pub fn acked_now(&self) -> u64 {
        self.answers.borrow().acked
    }

    /// Waits until the data plane serves by `seq` or a newer one.
    ///
    /// # Panics
    /// When it does not by `deadline`, or refused a snapshot.
    pub async fn acked(&self, seq: u64, deadline: Duration) {
        let mut answers = self.answers.clone();
        let settled = answers.wait_for(|answers| answers.acked >= seq || !answers.faults.is_empty());
        let answers = tokio::time::timeout(deadline, settled).await.expect("an answer in time");
        let answers = answers.expect("the service lives as long as this").clone();
        assert_eq!(answers.faults, Vec::<String>::new(), "a snapshot was refused");
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Down = Result<FollowDown, Status>;

fn version(seq: u64) -> Option<v1::Version> {
    Some(v1::Version { lineage: "feed".to_owned(), epoch: 1, seq })
}

/// The row of a data plane that said this of itself, whose earlier processes are dead.
#[must_use]
pub fn row(said: &v1::Hello) -> v1::Registered {
    v1::Registered {
        plane_id: said.plane_id.clone(),
        incarnation: said.incarnation,
        peer: said.peer.clone(),
        dead_through: said.incarnation - 1,
        draining: false,
        permits: true,
    }
}

/// A whole snapshot for an owner names it as the one that leads, the only one that there is.
fn appointed(down: FollowDown, hello: &v1::Hello) -> FollowDown {
    let Some(follow_down::Message::Snapshot(mut snapshot)) = down.message else { return down };
    let (plane_id, incarnation) = (hello.plane_id.clone(), hello.incarnation);
    if snapshot.owner && snapshot.lead.is_none() {
        let row = v1::Registered { plane_id: plane_id.clone(), incarnation, ..v1::Registered::default() };
        snapshot.planes = vec![row];
        snapshot.lead = Some(v1::Lead { plane_id, incarnation, term: 1, ..v1::Lead::default() });
    }
    FollowDown { message: Some(follow_down::Message::Snapshot(snapshot)) }
}

struct Service {
    waiting: Mutex<Option<mpsc::Receiver<Down>>>,
    said: Arc<watch::Sender<Answers>>,
}

#[tonic::async_trait]
impl Follow for Service {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowDown, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<Streaming<FollowUp>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let waiting = waiting.ok_or_else(|| Status::resource_exhausted("one data plane follows already"))?;
        let (mut up, said) = (request.into_inner(), self.said.clone());
        let Some(FollowUp { message: Some(follow_up::Message::Hello(hello)) }) = up.message().await? else {
            return Err(Status::invalid_argument("the first word is no hello"));
        };
        said.send_modify(|answers| answers.hello = Some(hello.clone()));
        let waiting = ReceiverStream::new(waiting).map(move |down| down.map(|down| appointed(down, &hello)));
        tokio::spawn(async move {
            while let Ok(Some(up)) = up.message().await {
                said.send_modify(|answers| match up.message {
                    Some(follow_up::Message::Ack(ack)) => {
                        answers.acked = ack.version.map_or(answers.acked, |version| version.seq);
                    }
                    Some(follow_up::Message::Nack(nack)) => answers.faults.extend(nack.faults),
                    Some(follow_up::Message::LeadSeen(seen)) => {
                        answers.lead = Some((seen.term, seen.silent));
                    }
                    Some(follow_up::Message::Dead(dead)) => {
                        answers.dead = Some((dead.plane_id, dead.incarnation));
                    }
                    _ => {}
                });
            }
        });
        Ok(Response::new(Box::pin(waiting)))
    }
}
