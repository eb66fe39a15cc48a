//! A connection that can be made to end badly.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What is yet to happen to a connection.
#[derive(Debug, Default)]
pub(crate) struct Plot {
    reset: AtomicBool,
    tail: Mutex<Bytes>,
}

impl Plot {
    /// It is reset when it ends.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// These bytes follow those that are written next.
    pub fn tail(&self, bytes: Bytes) {
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }
}

/// The server's side of a connection.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    plot: Arc<Plot>,
}

impl Line {
    pub fn new(stream: TcpStream, plot: Arc<Plot>) -> Self {
        Line { stream, plot }
    }

    fn is_reset(&self) -> bool {
        self.plot.reset.load(Ordering::Relaxed)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_reset()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "the connection is closed without a reset");
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Line { stream, plot } = &mut *self;
        let mut tail = plot.tail.lock().unwrap_or_else(PoisonError::into_inner);
        while !tail.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &tail))?;
            drop(tail.split_to(written));
        }
        drop(tail);
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A connection that was closed in order cannot be reset any more.
        if self.is_reset() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
