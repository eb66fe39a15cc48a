//! A backend that says exactly the bytes it was given, and keeps the bytes it was sent.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf as _, Bytes, BytesMut};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// Requests kept at most.
const KEPT_MAX: usize = 100_000;

/// What the backend answers to every request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status line and headers, without framing, each line with CRLF.
    pub head: String,
    /// Sent as one HTTP chunk each, flushed one by one.
    pub pieces: Vec<Bytes>,
    /// Cut the connection instead of ending the body.
    pub cut: bool,
}

impl Reply {
    /// A 200 of this type.
    #[must_use]
    pub fn ok(content_type: &str, pieces: Vec<Bytes>) -> Self {
        Self { head: format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n"), pieces, cut: false }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Request line and headers.
    pub head: String,
    /// Its body.
    pub body: Bytes,
}

/// The scripted backend. Stops when dropped.
#[derive(Debug)]
pub struct Script {
    /// Where it listens.
    pub addr: SocketAddr,
    reply: Arc<Mutex<Reply>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    task: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    /// Starts one.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(reply: Reply) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let reply = Arc::new(Mutex::new(reply));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (said, kept) = (reply.clone(), sent.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, said.clone(), kept.clone()));
            }
        });
        Ok(Self { addr, reply, sent, task })
    }

    /// Starts one that speaks TLS.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start_tls(reply: Reply, tls: Arc<ServerConfig>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let reply = Arc::new(Mutex::new(reply));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (said, kept) = (reply.clone(), sent.clone());
        let task = tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(tls);
            while let Ok((stream, _)) = listener.accept().await {
                let (said, kept, accepting) = (said.clone(), kept.clone(), acceptor.accept(stream));
                tokio::spawn(async move {
                    if let Ok(stream) = accepting.await {
                        serve(stream, said, kept).await;
                    }
                });
            }
        });
        Ok(Self { addr, reply, sent, task })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it answers from now on.
    pub fn say(&self, reply: Reply) {
        *lock(&self.reply) = reply;
    }

    /// Takes the requests that came.
    #[must_use]
    pub fn taken(&self) -> Vec<Sent> {
        std::mem::take(&mut *lock(&self.sent))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: Arc<Mutex<Reply>>,
    sent: Arc<Mutex<Vec<Sent>>>,
) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(request)) = read(&mut stream, &mut buffer).await {
        {
            let mut sent = lock(&sent);
            if sent.len() < KEPT_MAX {
                sent.push(request);
            }
        }
        let reply = lock(&reply).clone();
        if write(&mut stream, &reply).await.is_err() || reply.cut {
            return;
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Option<Sent>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.advance(end);
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(str::trim).map(str::to_owned)
        })
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer.split_to(length).freeze();
    Ok(Some(Sent { head, body }))
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> io::Result<()> {
    let mut out = BytesMut::from(reply.head.as_bytes());
    out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    for piece in reply.pieces.iter().filter(|piece| !piece.is_empty()) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    if !reply.cut {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    stream.write_all(&out).await?;
    stream.flush().await
}
