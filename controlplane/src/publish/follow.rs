//! The follow service: one bidirectional stream for each data plane.

use std::{pin::Pin, sync::Arc, time::Duration};

use proto::v1::{self, FollowDown, FollowUp, follow_server::Follow, follow_up};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{Joined, Publisher};
use crate::{
    fleet::{BackendLoad, FAULTS_MAX, Hello, LOADS_MAX, Load, Version},
    model::name::NAME_CHARS_MAX,
    probe::watch::unix_ms,
    store::Store,
};

/// A data plane says Hello within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Texts of a data plane have at most this many characters.
const TEXT_CHARS_MAX: usize = 400;

/// Serves data planes.
pub struct FollowService {
    publisher: Arc<Publisher>,
    store: Arc<Store>,
}

impl FollowService {
    /// The service on what is published.
    #[must_use]
    pub fn new(publisher: Arc<Publisher>, store: Arc<Store>) -> Self {
        FollowService { publisher, store }
    }
}

/// Makes who should hold the slots durable, then tells it. Does nothing while the store takes no writes.
pub async fn appoint(publisher: &Publisher, store: &Store) {
    let Some(successor) = publisher.successor() else { return };
    match store.set_owner(successor.clone()).await {
        Ok(()) => publisher.set_owner(&successor),
        Err(fault) => tracing::warn!(%fault, plane = successor, "cannot note who holds the slots"),
    }
}

#[tonic::async_trait]
impl Follow for FollowService {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowDown, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<Streaming<FollowUp>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let mut up = request.into_inner();
        let first = tokio::time::timeout(HELLO_WITHIN, up.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Hello came in time"))??;
        let Some(follow_up::Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let id = hello.plane_id.clone();
        let plain = |c: char| c.is_ascii_graphic();
        if id.is_empty() || id.len() > NAME_CHARS_MAX || !id.chars().all(plain) {
            return Err(Status::invalid_argument("hello.plane_id: 1 to 63 visible ASCII characters"));
        }
        let [incarnation, serves, admin] =
            [&hello.incarnation, &hello.serves, &hello.admin].map(|text| cut(text));
        let said = Hello { incarnation: &incarnation, serves: &serves, admin: &admin };
        let Joined { stream, down, ended } = self.publisher.join(&id, said)?;
        tracing::info!(plane = id, stream, "a data plane follows");
        self.ahead(&id, stream, hello.have);
        appoint(&self.publisher, &self.store).await;
        self.publisher.greet(stream);
        let publisher = Arc::clone(&self.publisher);
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    () = ended.cancelled() => break,
                    message = up.next() => message,
                };
                let Some(Ok(message)) = message else { break };
                if !note(&publisher, &id, stream, message) {
                    break;
                }
            }
            publisher.leave(&id, stream);
            tracing::info!(plane = id, stream, "a data plane is gone");
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(down))))
    }
}

impl FollowService {
    /// A data plane that is ahead of this store shows that the store is an old copy.
    fn ahead(&self, id: &str, stream: u64, have: Option<v1::Version>) {
        let Some(have) = have else { return };
        let current = self.publisher.version();
        let publisher = &self.publisher;
        let mut state = publisher.state();
        let Some(plane) = state.fleet.heard(publisher.now(), unix_ms(), id, stream) else { return };
        if have.lineage == current.lineage && have.epoch > current.epoch {
            tracing::error!(
                plane = id,
                have = have.epoch,
                ours = current.epoch,
                "the store is older than it was"
            );
            plane.faults = vec![format!(
                "it serves epoch {}, this control plane is at {}: the store is an old copy",
                have.epoch, current.epoch
            )];
        }
    }
}

/// False when the stream has been replaced.
fn note(publisher: &Publisher, id: &str, stream: u64, message: FollowUp) -> bool {
    let mut state = publisher.state();
    let Some(plane) = state.fleet.heard(publisher.now(), unix_ms(), id, stream) else { return false };
    match message.message {
        Some(follow_up::Message::Ack(ack)) => {
            plane.acked = ack.version.map(version);
            plane.faults.clear();
        }
        Some(follow_up::Message::Nack(nack)) => {
            plane.faults = nack.faults.iter().take(FAULTS_MAX).map(|fault| cut(fault)).collect();
            if plane.faults.is_empty() {
                plane.faults.push("it refused the snapshot without a reason".to_owned());
            }
            tracing::error!(plane = id, faults = ?plane.faults, "a data plane refused a snapshot");
            if let Some(follower) = state.followers.get_mut(&stream) {
                follower.at = 0;
            }
        }
        Some(follow_up::Message::Load(load)) => {
            let one = |backend: &v1::BackendLoad| BackendLoad {
                name: cut(&backend.name),
                in_flight: backend.in_flight,
                slots: backend.slots,
                resting: cut(&backend.resting),
            };
            let backends = load.backends.iter().take(LOADS_MAX).map(one).collect();
            plane.load = Some(Load { queued: load.queued, backends });
        }
        Some(follow_up::Message::Hello(_)) | None => {}
    }
    true
}

fn version(version: v1::Version) -> Version {
    Version { lineage: cut(&version.lineage), epoch: version.epoch, seq: version.seq }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}
