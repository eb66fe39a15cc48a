//! How a data plane is set up.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::TlsFiles;

/// As `Settings::doubt_after`: longer than a control plane needs to start and to look at every server.
const DOUBT_AFTER: Duration = Duration::from_secs(15);

/// How a data plane is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Serve clients by https with these; none: by http.
    pub tls: Option<TlsFiles>,
    /// Where the operator looks in.
    pub admin: SocketAddr,
    /// Where other data planes knock; none: where clients are served, at any free port. Not used without `control`.
    pub peer: Option<SocketAddr>,
    /// What other data planes are told of that, `HOST:PORT`; none: the address itself.
    pub peer_advertise: Option<String>,
    /// Allow addresses other than loopback, though there is no authentication yet.
    pub insecure_listen: bool,
    /// URL of the control plane; none: serve `snapshot` alone.
    pub control: Option<String>,
    /// Serve this file without a control plane.
    pub snapshot: Option<PathBuf>,
    /// Where identity and the last good snapshot are kept.
    pub state_dir: PathBuf,
    /// Threads that serve; 0: one a core, at most 8.
    pub threads: usize,
    /// Requests waiting for a slot at most.
    pub queue_max: usize,
    /// How long one waits at most.
    pub queue_wait: Duration,
    /// A streaming client that waits longer gets the head of its answer, and keep-alives until there is content.
    pub stream_wait: Duration,
    /// Bytes of a request body at most, after decompression.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies that wait for an answer; at least one of the largest fits.
    pub bodies_bytes_max: usize,
    /// A client has this long for a TLS handshake, for its first request, and for the head of each from its first byte.
    pub head_wait: Duration,
    /// A client's connection may idle for so long between two requests, at least `head_wait`.
    pub idle_wait: Duration,
    /// A client has this long for each piece of a request body, and as long for the whole beyond what its size takes.
    pub piece_wait: Duration,
    /// Answers that run when it is told to stop have this long to end.
    pub grace: Duration,
    /// A control plane that is lost for so long leaves no bad verdict behind: requests find out what is well again.
    pub doubt_after: Duration,
    /// The control plane runs in this process: its store is accepted whatever its lineage.
    pub trust_control: bool,
    /// Where everything that the scheduling core is told and says is recorded; none: nowhere.
    pub tape: Option<PathBuf>,
    /// The tape ends before it has more bytes.
    pub tape_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8800)),
            tls: None,
            admin: SocketAddr::from(([127, 0, 0, 1], 8802)),
            peer: None,
            peer_advertise: None,
            insecure_listen: false,
            control: None,
            snapshot: None,
            state_dir: state_dir(),
            threads: 0,
            queue_max: 10_000,
            queue_wait: Duration::from_secs(300),
            stream_wait: Duration::from_secs(15),
            body_bytes_max: 64 * 1024 * 1024,
            bodies_bytes_max: 1024 * 1024 * 1024,
            head_wait: Duration::from_secs(20),
            idle_wait: Duration::from_secs(75),
            piece_wait: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            doubt_after: DOUBT_AFTER,
            trust_control: false,
            tape: None,
            tape_bytes_max: tape::BYTES_MAX,
        }
    }
}

/// `$XDG_STATE_HOME/llmb`, else `~/.local/state/llmb`, else `llmb` here.
#[must_use]
pub fn state_dir() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_default()
        .join("llmb")
}
