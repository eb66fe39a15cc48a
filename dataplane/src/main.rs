//! `llmb-data`: one data plane as a process of its own.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use dataplane::app::{self, Settings, TlsFiles};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A data plane of LLM Balancer: serves clients, queues, places and forwards their requests.
#[derive(Debug, Parser)]
#[command(name = "llmb-data", version)]
struct Args {
    /// Where clients are served.
    #[arg(long, env = "LLMB_LISTEN", default_value = "127.0.0.1:8800")]
    listen: SocketAddr,
    /// Serve clients by https with this certificate (PEM, with its chain); taken up again when it changes.
    #[arg(long, env = "LLMB_TLS_CERT", value_name = "PEM", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key.
    #[arg(long, env = "LLMB_TLS_KEY", value_name = "PEM", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Liveness, readiness, metrics and views.
    #[arg(long, env = "LLMB_ADMIN_LISTEN", default_value = "127.0.0.1:8802")]
    admin_listen: SocketAddr,
    /// Where other data planes knock. Default: the address of --listen, at any free port.
    #[arg(long, env = "LLMB_PEER", value_name = "ADDR")]
    peer: Option<SocketAddr>,
    /// Where other data planes are told to knock, if that is not --peer. A name where something else stands before it.
    #[arg(long, env = "LLMB_PEER_ADVERTISE", value_name = "HOST:PORT")]
    peer_advertise: Option<String>,
    /// Allow addresses other than loopback, though there is no authentication yet.
    #[arg(long, env = "LLMB_INSECURE_LISTEN")]
    insecure_listen: bool,
    /// URL of the control plane to follow.
    #[arg(long, env = "LLMB_CONTROL", required_unless_present = "snapshot")]
    control: Option<String>,
    /// Serve this snapshot without a control plane.
    #[arg(long, env = "LLMB_SNAPSHOT", conflicts_with = "control")]
    snapshot: Option<PathBuf>,
    /// Identity and last good snapshot. Default: $XDG_STATE_HOME/llmb.
    #[arg(long, env = "LLMB_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Threads that serve; 0: one a core, at most 8.
    #[arg(long, env = "LLMB_THREADS", default_value_t = 0)]
    threads: usize,
    /// Requests waiting for a slot at most.
    #[arg(long, env = "LLMB_QUEUE_MAX", default_value_t = 10_000)]
    queue_max: usize,
    /// Seconds that a request waits for a slot at most.
    #[arg(long, env = "LLMB_QUEUE_WAIT", default_value_t = 300)]
    queue_wait: u64,
    /// Seconds after which a stream that still waits is begun with keep-alives.
    #[arg(long, env = "LLMB_STREAM_WAIT", default_value_t = 15)]
    stream_wait: u64,
    /// MiB of a request body at most, after decompression.
    #[arg(long, env = "LLMB_BODY_MIB_MAX", default_value_t = 64)]
    body_mib_max: usize,
    /// MiB of all request bodies that wait for an answer.
    #[arg(long, env = "LLMB_BODIES_MIB_MAX", default_value_t = 1024)]
    bodies_mib_max: usize,
    /// Seconds that running answers have to end when it is told to stop.
    #[arg(long, env = "LLMB_GRACE", default_value_t = 30)]
    grace: u64,
    /// Record what the scheduling core is told and decides here, for `llmctl replay`: no prompts, up to 256 MiB.
    #[arg(long, env = "LLMB_TAPE", value_name = "FILE")]
    tape: Option<PathBuf>,
}

fn settings(args: Args) -> Settings {
    Settings {
        listen: args.listen,
        tls: args.tls_cert.zip(args.tls_key).map(|(cert, key)| TlsFiles { cert, key }),
        admin: args.admin_listen,
        peer: args.peer,
        peer_advertise: args.peer_advertise,
        insecure_listen: args.insecure_listen,
        control: args.control,
        snapshot: args.snapshot,
        state_dir: args.state_dir.unwrap_or_else(app::state_dir),
        threads: args.threads,
        queue_max: args.queue_max,
        queue_wait: Duration::from_secs(args.queue_wait),
        stream_wait: Duration::from_secs(args.stream_wait),
        body_bytes_max: args.body_mib_max.saturating_mul(1024 * 1024),
        bodies_bytes_max: args.bodies_mib_max.saturating_mul(1024 * 1024),
        grace: Duration::from_secs(args.grace),
        tape: args.tape,
        ..Settings::default()
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("LLMB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let args = Args::parse();
    // Before anything is served, so that no signal ends the process in any other way.
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("error: signals cannot be received");
        return ExitCode::FAILURE;
    };
    let running = match app::start(settings(args)).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    running.stop().await;
    ExitCode::SUCCESS
}
