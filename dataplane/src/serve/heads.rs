//! How long a client's connection waits for a request: long for its first byte, short for the rest of its head.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::deadline::Alarm;

/// Whether bytes came since the wait for a request began.
#[derive(Clone, Debug, Default)]
pub struct Bytes(Arc<AtomicBool>);

/// What hyper waits by: its own deadline is that of an idle connection.
#[derive(Debug)]
pub struct Heads {
    /// Of the connection.
    pub alarm: Alarm,
    /// From its first byte to its last.
    pub head_wait: Duration,
    /// Of the connection's [`Heard`].
    pub bytes: Bytes,
    /// The first request is expected as soon as the connection is there.
    pub first: AtomicBool,
}

impl Timer for Heads {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.bytes.0.store(self.first.swap(false, Ordering::Relaxed), Ordering::Relaxed);
        let (alarm, head_wait, bytes) = (self.alarm.clone(), self.head_wait, self.bytes.clone());
        Box::pin(Wait { alarm, due: deadline.into(), head_wait: Some(head_wait), bytes })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

/// The wait for one request.
struct Wait {
    alarm: Alarm,
    due: Instant,
    /// None once its head has begun, which `due` knows then.
    head_wait: Option<Duration>,
    bytes: Bytes,
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes.0.load(Ordering::Relaxed)
            && let Some(head_wait) = self.head_wait.take()
        {
            self.due = self.due.min(Instant::now() + head_wait);
        }
        self.alarm.poll(cx, self.due, Duration::ZERO)
    }
}

/// A stream that notes when bytes come.
#[derive(Debug)]
pub struct Heard<S> {
    /// The stream.
    pub stream: S,
    /// Of the connection's [`Heads`].
    pub bytes: Bytes,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.bytes.0.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
