//! The streams that other data planes open to this one.

use std::{pin::Pin, sync::Arc, time::Duration};

use proto::v1::{self, peer_server::Peer};
use sched::{
    lead::StreamId,
    permit::{Down, Up},
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use super::{Ends, Names, Outbox, parse, render};

/// Streams at most: each registered data plane has one, and may open the next before the last is known to be gone.
const STREAMS_MAX: usize = 2 * sched::permit::MEMBERS_MAX;
/// The first word has this long.
const HELLO_WITHIN: Duration = Duration::from_secs(2);

/// Tells those who lead what others say.
pub struct Joins {
    ends: Arc<dyn Ends>,
    names: Arc<Names>,
    streams: Arc<Semaphore>,
    /// Told when one ends.
    left: Arc<Notify>,
    /// All streams end.
    over: CancellationToken,
}

impl Joins {
    /// Streams that end when `over` says so; `left` is told of each that does.
    pub fn new(ends: Arc<dyn Ends>, names: Arc<Names>, left: Arc<Notify>, over: CancellationToken) -> Self {
        Self { ends, names, streams: Arc::new(Semaphore::new(STREAMS_MAX)), left, over }
    }
}

/// A stream that joined. Dropped, it has left.
struct Seat {
    ends: Arc<dyn Ends>,
    stream: StreamId,
    left: Arc<Notify>,
    _one: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.ends.left(self.stream);
        self.left.notify_one();
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::PeerDown, Status>> + Send>>;

#[tonic::async_trait]
impl Peer for Joins {
    type JoinStream = Answers;

    async fn join(&self, request: Request<Streaming<v1::PeerUp>>) -> Result<Response<Answers>, Status> {
        let one = self.streams.clone().try_acquire_owned();
        let one =
            one.map_err(|_| Status::resource_exhausted(format!("{STREAMS_MAX} streams are open already")))?;
        let mut up = request.into_inner();
        let late = |_| Status::deadline_exceeded("the hello did not come in time");
        let first = timeout(HELLO_WITHIN, up.message()).await.map_err(late)??;
        let first = first.ok_or_else(|| Status::invalid_argument("the stream ended before a hello"))?;
        let hello = parse::up(first, &self.names).map_err(|fault| Status::unavailable(fault.to_string()))?;
        let Some(hello @ Up::Hello { .. }) = hello else {
            return Err(Status::invalid_argument("the first word is no hello"));
        };
        let (out, down) = Outbox::pair();
        let Some(stream) = self.ends.joined(out) else {
            return Err(Status::failed_precondition("this data plane does not lead"));
        };
        let seat = Seat { ends: self.ends.clone(), stream, left: self.left.clone(), _one: one };
        seat.ends.told(stream, hello);
        let ended = self.over.child_token();
        tokio::spawn(told(seat, up, self.names.clone(), ended.clone()));
        Ok(Response::new(answers(down, self.names.clone(), ended)))
    }
}

/// Tells what comes, until the stream ends in either direction.
async fn told(seat: Seat, mut up: Streaming<v1::PeerUp>, names: Arc<Names>, ended: CancellationToken) {
    let _both = ended.clone().drop_guard();
    loop {
        let message = tokio::select! {
            () = ended.cancelled() => return,
            message = up.message() => message,
        };
        match message.map(|message| message.map(|message| parse::up(message, &names))) {
            Ok(Some(Ok(Some(message)))) => seat.ends.told(seat.stream, message),
            // a word of a later version
            Ok(Some(Ok(None))) => {}
            Ok(Some(Err(fault))) => {
                return tracing::error!(%fault, "what another data plane says is not understood: its stream ends");
            }
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "the stream of another data plane broke"),
        }
    }
}

/// What is said to one data plane, up to where its stream ends in either direction.
struct Saying {
    down: mpsc::Receiver<Down>,
    names: Arc<Names>,
    ended: CancellationToken,
    /// Nobody listens any more once this is dropped.
    _both: DropGuard,
}

fn answers(down: mpsc::Receiver<Down>, names: Arc<Names>, ended: CancellationToken) -> Answers {
    let saying = Saying { down, names, ended: ended.clone(), _both: ended.drop_guard() };
    Box::pin(futures_util::stream::unfold(Some(saying), |saying| async move {
        let mut saying = saying?;
        let message = tokio::select! {
            biased;
            message = saying.down.recv() => message,
            () = saying.ended.cancelled() => None,
        };
        let said = message.map(|message| render::down(&message, &saying.names));
        Some(match said {
            Some(Ok(message)) => (Ok(message), Some(saying)),
            Some(Err(fault)) => (Err(Status::internal(fault.to_string())), None),
            None => (Err(Status::unavailable("the stream has ended: come again")), None),
        })
    }))
}
