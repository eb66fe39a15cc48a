//! Where other data planes knock: their streams, and the requests that they pass on.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::v1::peer_server::PeerServer;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::{Ends, MESSAGE_BYTES_MAX, Names, PING_EVERY, PING_WITHIN, join::Joins};

/// How a connection for streams begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// A connection says within this time what it is for.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// Connections that have not said it yet at most; others wait to be accepted.
const NEW_MAX: usize = 256;
/// Streams of one connection at most; a data plane opens one.
const STREAMS_MAX: u32 = 4;
/// After a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Connections that wait for one thread at most.
const WAITING_MAX: usize = 64;

/// A connection that is no stream: requests that another data plane passes on.
type Handed = (std::net::TcpStream, SocketAddr);

/// Hands such connections to those who serve, in turn.
#[derive(Clone, Debug)]
pub struct Passing {
    threads: Vec<mpsc::Sender<Handed>>,
    turn: Arc<AtomicUsize>,
}

/// To so many threads, and what each gets.
#[must_use]
pub fn passing(threads: usize) -> (Passing, Vec<mpsc::Receiver<Handed>>) {
    let (threads, passed) = (0..threads.max(1)).map(|_| mpsc::channel(WAITING_MAX)).unzip();
    (Passing { threads, turn: Arc::default() }, passed)
}

impl Passing {
    /// What cannot be handed on is closed.
    async fn hand(&self, stream: TcpStream, from: SocketAddr) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        if let Ok(stream) = stream.into_std() {
            // A thread that has ended serves nobody.
            let _ = self.threads[turn].send((stream, from)).await;
        }
    }
}

/// Serves until `over`, when streams end; `left` is told of each that ends.
pub async fn serve(
    listener: TcpListener,
    (ends, names): (Arc<dyn Ends>, Arc<Names>),
    passing: Passing,
    (left, over): (Arc<Notify>, CancellationToken),
) {
    let (streams, incoming) = mpsc::channel(NEW_MAX);
    let service = PeerServer::new(Joins::new(ends, names, left, over.clone()));
    let server = Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_WITHIN))
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(service.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), over.clone().cancelled_owned());
    tokio::select! {
        () = accept(listener, streams, passing) => {}
        served = server => {
            if let Err(error) = served {
                tracing::error!(%error, "the listener for other data planes ended");
            }
        }
    }
}

type Streams = mpsc::Sender<io::Result<TcpStream>>;

async fn accept(listener: TcpListener, streams: Streams, passing: Passing) {
    let mut new = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = new.join_next(), if !new.is_empty() => {}
            accepted = listener.accept(), if new.len() < NEW_MAX => match accepted {
                Ok((stream, from)) => {
                    let _ = stream.set_nodelay(true);
                    new.spawn(sort(stream, from, streams.clone(), passing.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of another data plane");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Hands a connection on by its first bytes; nothing comes of one that is neither, or whose receiver is gone.
async fn sort(stream: TcpStream, from: SocketAddr, streams: Streams, passing: Passing) {
    match timeout(FIRST_WITHIN, streaming(&stream)).await {
        Ok(Ok(true)) => {
            let _ = streams.send(Ok(stream)).await;
        }
        Ok(Ok(false)) => passing.hand(stream, from).await,
        Ok(Err(error)) => tracing::debug!(%error, %from, "a connection broke before it said anything"),
        Err(_) => tracing::debug!(%from, "a connection said nothing in time"),
    }
}

async fn streaming(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await?;
        let told = &first[..count];
        if count == 0 || !PREFACE.starts_with(told) {
            return Ok(false);
        }
        if count == PREFACE.len() {
            return Ok(true);
        }
        // The rest of a beginning in pieces; peeking gives the same bytes at once until more is there.
        sleep(PIECE_PAUSE).await;
    }
}

/// Between two looks at a beginning that came in pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(5);
