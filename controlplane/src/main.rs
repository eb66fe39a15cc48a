//! `llmb-control`: the control plane as a process of its own.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use controlplane::app::{self, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The control plane of LLM Balancer: configuration, probing, the management API.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address and port of the management API (gRPC, health, metrics).
    #[arg(long, env = "LLMB_LISTEN", default_value = "127.0.0.1:8801")]
    listen: SocketAddr,
    /// Listen on an address that other machines reach, though nobody is authenticated.
    #[arg(long, env = "LLMB_INSECURE_LISTEN", value_parser = clap::builder::BoolishValueParser::new())]
    insecure_listen: bool,
    /// Directory of the store [default: $XDG_STATE_HOME/llmb or ~/.local/state/llmb].
    #[arg(long, env = "LLMB_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Between two probes of a backend, such as 5s or 500ms.
    #[arg(long, env = "LLMB_PROBE_INTERVAL", default_value = "5s", value_parser = duration)]
    probe_interval: Duration,
    /// For one question of a probe.
    #[arg(long, env = "LLMB_PROBE_TIMEOUT", default_value = "2s", value_parser = duration)]
    probe_timeout: Duration,
    /// A data plane that is silent for so long counts as dead; at least 20s. The price: all data planes stop, and cut what
    /// runs, when the control plane is gone for so long.
    #[arg(long, env = "LLMB_RECLAIM_SILENT_AFTER", value_parser = duration)]
    reclaim_silent_after: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    const BOUNDS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err("a number with ms, s or m, such as 5s".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a number with ms, s or m, such as 5s".to_owned())?;
    match number.checked_mul(unit_ms) {
        Some(ms) if BOUNDS.contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err("100ms to 60m".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = std::env::var("LLMB_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = match EnvFilter::try_new(&filter) {
        Ok(filter) => filter,
        Err(problem) => {
            eprintln!("llmb-control: LLMB_LOG={filter:?}: {problem}");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            eprintln!("llmb-control: {problem}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("llmb-control: {why}");
            // A writer that hangs would hold back the end of the runtime for ever.
            runtime.shutdown_background();
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), String> {
    let signals = |kind| signal(kind).map_err(|problem| problem.to_string());
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let defaults = Settings::default();
    let settings = Settings {
        listen: args.listen,
        insecure_listen: args.insecure_listen,
        state_dir: args.state_dir.unwrap_or(defaults.state_dir),
        probe_interval: args.probe_interval,
        probe_timeout: args.probe_timeout,
        reclaim_silent_after: args.reclaim_silent_after,
    };
    let running = app::start(settings).await.map_err(|error| error.to_string())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        why = running.failed() => return Err(why),
    }
    running.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, want_ms) in [
            ("5s", Some(5000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("99ms", None),
            ("61m", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615m", None),
        ] {
            assert_eq!(duration(text).ok(), want_ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn arguments_hold_together() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
