//! The listener and its connections.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::{
    answer::{Broken, answer},
    fault::Fault,
    flow::{Answer, full},
    line::{Line, Plot},
    server::Server,
    settings::Kind,
    spoil::Tail,
    text,
};

/// The largest request body.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// llama.cpp closes a kept connection at this request.
const LLAMACPP_REQUESTS: u32 = 100;
/// llama.cpp closes a connection that has idled so long.
const LLAMACPP_IDLE: Duration = Duration::from_secs(5);
/// Connections open at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 20_000;
const BACKLOG: u32 = 1024;
/// Connections that a listener without a backlog takes at most before it is deaf.
const DEAF_FILLERS_MAX: usize = 16;
/// A connection on this machine that is not there by then does not come about.
const DEAF_PROOF: Duration = Duration::from_millis(100);
/// How long to wait before the listener is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Listens at an address that may have been in use a moment ago.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    reserve(address)?.listen(BACKLOG)
}

/// Owns an address without listening: connections are refused, and nobody else gets the port.
fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves until it is dropped; every connection goes with it.
pub(crate) async fn serve(server: Arc<Server>, mut listener: TcpListener, address: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        if server.refuses() {
            drop(listener);
            connections.shutdown().await;
            listener = refuse(&server, address).await;
        }
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => accept(&server, &mut connections, stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            },
            () = server.rearmed.notified() => {}
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Keeps the address shut as long as the fault lasts.
async fn refuse(server: &Server, address: SocketAddr) -> TcpListener {
    loop {
        match reserve(address) {
            Ok(socket) => {
                if server.deaf() {
                    if let Err(error) = be_deaf(server, socket, address).await {
                        tracing::warn!(%address, %error, "cannot be deaf");
                    }
                    continue;
                }
                server.record.listening(false);
                while server.refuses() && !server.deaf() {
                    server.rearmed.notified().await;
                }
                match socket.listen(BACKLOG) {
                    Ok(listener) => {
                        server.record.listening(true);
                        return listener;
                    }
                    Err(error) => tracing::warn!(%address, %error, "cannot listen again yet"),
                }
            }
            Err(error) => tracing::warn!(%address, %error, "cannot own the address yet"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Fills the shortest backlog there is, so that whoever connects hears nothing.
async fn be_deaf(server: &Server, socket: TcpSocket, address: SocketAddr) -> io::Result<()> {
    let _listener = socket.listen(0)?;
    let mut fillers = Vec::new();
    while let Ok(filler) = tokio::time::timeout(DEAF_PROOF, TcpStream::connect(address)).await {
        fillers.push(filler?);
        if fillers.len() > DEAF_FILLERS_MAX {
            return Err(io::Error::other("the system takes connections beyond the backlog"));
        }
    }
    server.record.listening(false);
    while server.deaf() {
        server.rearmed.notified().await;
    }
    Ok(())
}

fn accept(server: &Arc<Server>, connections: &mut JoinSet<()>, stream: TcpStream) {
    match server.strike(false, true) {
        Some(Fault::HalfOpen) => {
            connections.spawn(async move {
                let _held = stream;
                std::future::pending().await
            });
            return;
        }
        Some(_) => {
            if let Err(error) = stream.set_zero_linger() {
                tracing::debug!(%error, "the connection is closed without a reset");
            }
            return;
        }
        None => {}
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    connections.spawn(connection(server.clone(), stream));
}

async fn connection(server: Arc<Server>, stream: TcpStream) {
    let _open = Open::new(&server);
    let served = Arc::new(AtomicU32::new(0));
    let plot = Arc::new(Plot::default());
    let service = service_fn(|request| {
        let (server, served, plot) = (server.clone(), served.clone(), plot.clone());
        async move {
            let number = served.fetch_add(1, Ordering::Relaxed) + 1;
            let mut answered = respond(server, request, number).await;
            match &mut answered {
                Ok(response) => {
                    if let Some(Tail(bytes)) = response.extensions_mut().remove() {
                        plot.tail(bytes);
                    }
                }
                Err(Broken::Reset) => plot.reset(),
                Err(Broken::Cut) => {}
            }
            answered
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    http.header_read_timeout(match server.settings.kind {
        Kind::Llamacpp => Some(LLAMACPP_IDLE),
        _ => None,
    });
    if let Err(error) = http.serve_connection(TokioIo::new(Line::new(stream, plot.clone())), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn respond(
    server: Arc<Server>,
    request: Request<Incoming>,
    number: u32,
) -> Result<Response<Answer>, Broken> {
    let (parts, body) = request.into_parts();
    let admin = parts.uri.path().starts_with("/_sim/");
    let mut response = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => answer(server.clone(), parts, body.to_bytes()).await?,
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            full(413, "application/json", Bytes::from_static(b"{\"error\":\"request body too large\"}"))
        }
        Err(_) => return Err(Broken::Cut),
    };
    if !admin {
        dress(&server, &mut response, number);
    }
    Ok(response)
}

/// The headers that each kind sends with everything.
fn dress(server: &Server, response: &mut Response<Answer>, number: u32) {
    let failed = response.status().as_u16() >= 400;
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let id = text::hex(server.number(), 24);
    match server.settings.kind {
        Kind::Ollama => {}
        Kind::LmStudio => set("x-powered-by", "Express"),
        Kind::Llamacpp => {
            set("server", "llama.cpp");
            set("access-control-allow-origin", "");
            // It closes after every error, too.
            if number >= LLAMACPP_REQUESTS || failed {
                set("connection", "close");
            } else {
                set("keep-alive", "timeout=5, max=100");
            }
        }
        Kind::Vllm => set("server", "uvicorn"),
        Kind::Openai => {
            set("x-request-id", &format!("req_{id}"));
            set("openai-version", "2020-10-01");
            set("openai-organization", "simulated");
            set("openai-processing-ms", "5");
            set("x-ratelimit-limit-requests", "10000");
            set("x-ratelimit-remaining-requests", "9999");
            set("x-ratelimit-reset-requests", "6ms");
        }
        Kind::Anthropic => {
            set("request-id", &format!("req_{id}"));
            set("anthropic-organization-id", "simulated");
            set("anthropic-ratelimit-requests-limit", "4000");
            set("anthropic-ratelimit-requests-remaining", "3999");
            set("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z");
        }
        Kind::Gemini => {
            set("server", "scaffolding on HTTPServer2");
            set("vary", "Origin, X-Origin, Referer");
        }
    }
    if !server.settings.name.is_empty() {
        set("x-sim-name", &server.settings.name);
    }
    if matches!(response.body(), Answer::Stream(_)) && server.settings.kind == Kind::LmStudio {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    }
}

/// A connection, in the books.
struct Open<'a>(&'a Server);

impl<'a> Open<'a> {
    fn new(server: &'a Server) -> Self {
        server.record.connection(true);
        Open(server)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.record.connection(false);
    }
}
