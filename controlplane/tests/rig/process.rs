//! The control plane as a process of its own.

use std::{net::SocketAddr, path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use super::within;

/// Lines of the log that are kept.
const LINES_MAX: usize = 100_000;

pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmb-control"));
    command.args(["--listen", "127.0.0.1:0", "--probe-interval", "100ms", "--state-dir"]).arg(dir);
    command.env("LLMB_LOG", "debug").stderr(Stdio::piped()).kill_on_drop(true);
    command
}

pub struct Process {
    pub child: Child,
    pub addr: SocketAddr,
    /// All that it said, at its end.
    pub log: JoinHandle<Vec<String>>,
}

impl Process {
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it is built");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut log = Vec::new();
        let addr = within("the address", async {
            while let Ok(Some(line)) = lines.next_line().await {
                log.push(line.clone());
                if let Some((_, rest)) = line.split_once("control plane runs addr=") {
                    return rest.split(' ').next().and_then(|addr| addr.parse().ok()).expect("an address");
                }
            }
            panic!("it ended: {log:#?}");
        });
        let addr = addr.await;
        // Read on, so that it never waits for its own log.
        let log = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if log.len() < LINES_MAX {
                    log.push(line);
                }
            }
            log
        });
        Process { child, addr, log }
    }
}
