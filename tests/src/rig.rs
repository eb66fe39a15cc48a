//! Planes for tests: a data plane on a snapshot given by hand, or both planes with simulated servers behind them.

use std::{net::SocketAddr, time::Duration};

use dataplane::app as data;
use proto::v1;
use tempfile::TempDir;

/// What a test waits for anything at most.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Every interface, any port.
#[must_use]
pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A data plane that serves a snapshot of the test's making.
#[derive(Debug)]
pub struct Plane {
    /// Base URL for clients.
    pub url: String,
    /// Base URL for the operator.
    pub admin: String,
    running: data::Running,
    _folder: TempDir,
}

impl Plane {
    /// Serves `snapshot` with settings changed by `change`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(snapshot: &v1::Snapshot, change: impl FnOnce(&mut data::Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("given.json");
        std::fs::write(&path, proto::to_json("Snapshot", snapshot)).expect("the snapshot is written");
        let mut settings = data::Settings {
            listen: any_port(),
            admin: any_port(),
            snapshot: Some(path),
            state_dir: folder.path().to_path_buf(),
            ..data::Settings::default()
        };
        change(&mut settings);
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let running = data::start(settings).await.expect("the data plane starts");
        let url = format!("{scheme}://{}", running.listen);
        let admin = format!("http://{}", running.admin);
        Self { url, admin, running, _folder: folder }
    }

    /// Follows `control` and serves nothing before that speaks.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn follow(control: &str, change: impl FnOnce(&mut data::Settings)) -> Self {
        Self::start(&v1::Snapshot::default(), |settings| {
            (settings.control, settings.snapshot) = (Some(control.to_owned()), None);
            change(settings);
        })
        .await
    }

    /// Stops it and waits for its end.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    /// The view of its admin listener.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn view(&self) -> serde_json::Value {
        let text =
            client().get(format!("{}/view", self.admin)).send().await.expect("the admin listener answers");
        text.json().await.expect("the view is JSON")
    }
}

/// A row of a snapshot.
#[must_use]
pub fn backend(
    name: &str,
    url: &str,
    kind: v1::Kind,
    slots: u32,
    models: &[&str],
    dialects: &[v1::Dialect],
) -> v1::SnapshotBackend {
    v1::SnapshotBackend {
        name: name.to_owned(),
        url: url.to_owned(),
        kind: kind as i32,
        dialects: dialects.iter().map(|dialect| *dialect as i32).collect(),
        models: models
            .iter()
            .map(|name| v1::Model { name: (*name).to_owned(), ..v1::Model::default() })
            .collect(),
        slots,
        health: v1::Health::Healthy as i32,
        ..v1::SnapshotBackend::default()
    }
}

/// A snapshot of these backends.
#[must_use]
pub fn snapshot(backends: Vec<v1::SnapshotBackend>) -> v1::Snapshot {
    v1::Snapshot { owner: true, backends, ..v1::Snapshot::default() }
}

/// An HTTP client that waits for nothing longer than [`DEADLINE`].
///
/// # Panics
/// When TLS cannot be set up.
#[must_use]
pub fn client() -> reqwest::Client {
    tls();
    reqwest::Client::builder().timeout(DEADLINE).build().expect("an HTTP client")
}

/// One that waits for so long, with a connection of its own for each request.
///
/// # Panics
/// When TLS cannot be set up.
#[must_use]
pub fn patient(within: Duration) -> reqwest::Client {
    tls();
    let client = reqwest::Client::builder().timeout(within).pool_max_idle_per_host(0);
    client.build().expect("an HTTP client")
}

fn tls() {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
