//! The planes as processes.

use std::{net::TcpListener, path::Path, time::Instant};

use proto::v1::management_client::ManagementClient;
use tests::process::{Process, field};
use tonic::transport::Channel;

use super::PATIENCE;

/// A client of the management API.
pub type Manage = ManagementClient<Channel>;

/// Connects as soon as somebody listens.
pub async fn manage(addr: &str) -> Manage {
    let began = Instant::now();
    loop {
        match ManagementClient::connect(format!("http://{addr}")).await {
            Ok(client) => return client,
            Err(error) => assert!(began.elapsed() < PATIENCE, "no management: {error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// A control plane of its own process, and its address.
pub fn control(listen: &str, state: &Path) -> (Process, String) {
    let state = state.display().to_string();
    let args = ["--listen", listen, "--state-dir", &state, "--probe-interval", "1s"];
    let process = Process::start("llmb-control", &args, &[]);
    let line = process.line("its address", |line| line.contains("control plane runs"));
    (process, field(&line, "addr"))
}

/// An address to come back to: below the ports that systems give to outgoing connections, so that none takes it while
/// its owner is down.
pub fn address() -> String {
    let first = 20_000 + std::process::id() % 8000;
    let free = (first..first + 2000).map(|port| format!("127.0.0.1:{port}"));
    free.into_iter().find(|addr| TcpListener::bind(addr).is_ok()).expect("a free port")
}

/// A data plane of its own process that follows `control`, by host and port; where it serves, and its admin listener.
pub fn data(control: &str, state: &Path) -> (Process, String, String) {
    let (control, state) = (format!("http://{control}"), state.display().to_string());
    let args = ["--control", &control, "--state-dir", &state, "--listen", "127.0.0.1:0"];
    let process = Process::start("llmb-data", &[&args[..], &["--admin-listen", "127.0.0.1:0"]].concat(), &[]);
    let line = process.line("its address", |line| line.contains("data plane serves"));
    let (listen, admin) = (field(&line, "listen"), field(&line, "admin"));
    (process, listen, admin)
}
