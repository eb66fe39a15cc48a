//! A connection that breaks when a server talks on and on before it answers.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read before the head of an answer is complete, at most: informational answers, whose number nothing else
/// bounds. What is read ahead behind a head counts as well and stays far below. One read may pass the bound; hyper reads
/// at most some 400 KiB at a time.
const BYTES_BEFORE_HEAD_MAX: usize = 4 * 1024 * 1024;

/// How much may still be read.
#[derive(Clone, Debug)]
pub struct Room(Rc<Cell<usize>>);

impl Room {
    /// A request is sent: its answer must begin within the bound.
    pub fn narrow(&self) {
        self.0.set(BYTES_BEFORE_HEAD_MAX);
    }

    /// The head of the answer is here.
    pub fn widen(&self) {
        self.0.set(usize::MAX);
    }
}

/// A stream whose reads are counted.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    room: Room,
}

impl<S> Metered<S> {
    /// Meters `stream`; the room is narrow until told otherwise.
    pub fn new(stream: S) -> (Self, Room) {
        let room = Room(Rc::new(Cell::new(BYTES_BEFORE_HEAD_MAX)));
        (Self { stream, room: room.clone() }, room)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = self.room.0.get();
        if room == 0 {
            let what = format!("{BYTES_BEFORE_HEAD_MAX} bytes and no answer among them");
            return Poll::Ready(Err(io::Error::other(what)));
        }
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.room.0.set(room.saturating_sub(into.filled().len() - before));
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::{BYTES_BEFORE_HEAD_MAX, Metered};

    #[tokio::test]
    async fn the_bound_holds_until_the_head_is_here() {
        let (mut stream, room) = Metered::new(tokio::io::repeat(b'x'));
        let mut all = Vec::new();
        let error = stream.read_to_end(&mut all).await.unwrap_err();
        assert!(error.to_string().contains("no answer") && all.len() >= BYTES_BEFORE_HEAD_MAX);
        let mut more = vec![0; 2 * BYTES_BEFORE_HEAD_MAX];
        room.widen();
        stream.read_exact(&mut more).await.unwrap();
        room.narrow();
        all.clear();
        assert!(stream.read_to_end(&mut all).await.is_err() && all.len() < 3 * BYTES_BEFORE_HEAD_MAX);
    }
}
