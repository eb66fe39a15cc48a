//! Connections of clients, and of data planes that pass requests on, as one thread serves them.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    Body, CUT_WITHIN, Limits, Passed, Phase, Secure, Worker,
    heads::{Bytes, Heads, Heard},
    reached, stopped, target,
};
use crate::{deadline::Alarm, wake::Gate};

/// Bytes of the head of one request at most.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// Read buffer of one connection at most.
const BUFFER_BYTES_MAX: usize = 256 * 1024;
/// How often idle upstream connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// After a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Serves what comes, until `stop` says so; then until all is answered or cut.
pub async fn accept(
    listener: std::net::TcpListener,
    worker: Rc<Worker>,
    (secure, mut passed): (Option<Arc<Secure>>, Option<Passed>),
    mut stop: watch::Receiver<Phase>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the listener cannot be used"),
    };
    let mut connections = JoinSet::new();
    let told = stop.clone();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut aborts = worker.shared.dispatch.aborts();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Ok(()) = aborts.changed() => worker.pool.cut(),
            _ = sweep.tick() => {
                worker.pool.sweep();
                if let Some(secure) = &secure {
                    secure.refresh();
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Some((stream, peer)) = next(&mut passed) => {
                let (worker, told) = (worker.clone(), told.clone());
                match stream {
                    Ok(stream) => drop(connections.spawn_local(connection(stream, (peer, true), worker, told))),
                    Err(error) => tracing::warn!(%error, "a connection of another data plane cannot be used"),
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let (worker, told) = (worker.clone(), told.clone());
                    match secure.clone() {
                        None => connections.spawn_local(connection(stream, (peer, false), worker, told)),
                        Some(secure) => connections.spawn_local(async move {
                            let wait = worker.shared.limits.head_wait;
                            if let Some(stream) = secure.accept(stream, wait).await {
                                connection(stream, (peer, false), worker, told).await;
                            }
                        }),
                    };
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let cut = async {
        reached(&mut stop, Phase::Cutting).await;
        tokio::time::sleep(CUT_WITHIN).await;
    };
    let aborted = async {
        while aborts.changed().await.is_ok() {
            worker.pool.cut();
        }
    };
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = cut => {}
        () = aborted => {}
    }
}

/// The next connection by which requests are passed on, on the runtime of this thread; `None` when there will be none.
async fn next(passed: &mut Option<Passed>) -> Option<(io::Result<TcpStream>, SocketAddr)> {
    let (stream, peer) = passed.as_mut()?.recv().await?;
    Some((TcpStream::from_std(stream), peer))
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    (peer, passed): (SocketAddr, bool),
    worker: Rc<Worker>,
    mut stop: watch::Receiver<Phase>,
) {
    let Limits { head_wait, idle_wait, .. } = worker.shared.limits;
    let (alarm, bytes) = (Alarm::default(), Bytes::default());
    let heads = Heads { alarm: alarm.clone(), head_wait, bytes: bytes.clone(), first: true.into() };
    let service = service_fn(move |request: Request<Incoming>| {
        let (worker, alarm) = (worker.clone(), alarm.clone());
        async move {
            Ok::<Response<Body>, Infallible>(
                target::answer(&worker, request, (peer.ip(), passed), alarm).await,
            )
        }
    });
    let connection = http1::Builder::new()
        .timer(heads)
        .header_read_timeout(idle_wait.max(head_wait))
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Heard { stream, bytes }), service);
    let mut connection = std::pin::pin!(connection);
    let mut told = stop.clone();
    let mut stopped = std::pin::pin!(stopped(&mut stop));
    let mut listens = false;
    let mut gate = Gate::default();
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(&mut Context::from_waker(gate.waker(cx))) {
            return Poll::Ready(Some(ended));
        }
        // To listen for the end costs more than to see that it has not come; the waker of a task stays the same.
        let ends = (!listens || told.has_changed().unwrap_or(true)) && stopped.as_mut().poll(cx).is_ready();
        listens = true;
        if ends { Poll::Ready(None) } else { Poll::Pending }
    });
    let ended = match ended.await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                // Looked at once more, an answer that still runs ends in an error.
                () = reached(&mut told, Phase::Cutting) => connection.await,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a client's connection ended");
    }
}
