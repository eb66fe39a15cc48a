//! A control plane, several data planes and simulated servers, each plane a process of its own that can be killed, paused
//! and cut off.

use std::{
    cell::Cell,
    net::TcpListener,
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use llmsim::Sim;
use proto::v1::{self, management_client::ManagementClient};
use tonic::transport::Channel;

use crate::{cable::Cable, process::Process, rig};

/// What is waited for at most; generous, since other work may share the machine.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at something that comes by itself.
const PACE: Duration = Duration::from_millis(20);

/// One data plane: its addresses stay over restarts.
#[derive(Debug)]
pub struct Member {
    /// `HOST:PORT` where clients are served.
    pub listen: String,
    /// `HOST:PORT` where it answers for itself.
    admin: String,
    peer: String,
    state: String,
    ways: Option<Ways>,
    process: Option<Process>,
    /// What earlier processes of it said, the newest last.
    past: Vec<String>,
}

#[derive(Debug)]
struct Ways {
    control: Cable,
    peer: Cable,
}

/// All of it. Dropped, everything ends.
#[derive(Debug)]
pub struct Cluster {
    /// Servers by the names of their backends.
    pub sims: Vec<(&'static str, Sim)>,
    /// The data planes.
    pub members: Vec<Member>,
    listen: String,
    control: Option<Process>,
    folder: tempfile::TempDir,
}

/// An address to come back to: below the ports that systems give to outgoing connections, so that none takes it while its
/// owner is down; each once.
///
/// # Panics
/// When none is free.
#[must_use]
pub fn address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 60).expect("small") * 180;
    for _ in 0..180 {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 180;
        let addr = format!("127.0.0.1:{port}");
        if TcpListener::bind(&addr).is_ok() {
            return addr;
        }
    }
    panic!("no free port from {first} on");
}

impl Member {
    async fn new(state: &Path, control: &str, cut: bool) -> Self {
        let peer = address();
        let ways = match cut {
            true => Some(Ways {
                control: Cable::new(control.to_owned()).await,
                peer: Cable::new(peer.clone()).await,
            }),
            false => None,
        };
        let state = state.display().to_string();
        Self { listen: address(), admin: address(), peer, state, ways, process: None, past: Vec::new() }
    }

    /// Base URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// The process.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Ends the process by `end`, and waits for it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn end(&mut self, end: impl FnOnce(Process)) {
        let process = self.process.take().expect("it runs");
        self.past.push(process.said());
        end(process);
    }

    /// Everything that its processes said.
    #[must_use]
    pub fn said(&self) -> String {
        let now = self.process.as_ref().map(Process::said).unwrap_or_default();
        format!("{}\n--- now\n{now}", self.past.join("\n--- then\n"))
    }

    fn start(&mut self, control: &str) {
        let through = self.ways.as_ref().map(|ways| ways.control.addr.to_string());
        let url = format!("http://{}", through.as_deref().unwrap_or(control));
        let mut args = vec!["--control", &url, "--state-dir", &self.state, "--listen", &self.listen];
        args.extend(["--admin-listen", &self.admin, "--peer", &self.peer, "--threads", "1"]);
        let told = self.ways.as_ref().map(|ways| ways.peer.addr.to_string());
        if let Some(told) = &told {
            args.extend(["--peer-advertise", told]);
        }
        let process = Process::start("llmb-data", &args, &[]);
        let _ = process.line("its address", |line| line.contains("data plane serves"));
        self.process = Some(process);
    }
}

impl Cluster {
    /// So many data planes in front of these servers, all of whom are known to be up. `cut`: each data plane can be cut off;
    /// then a refused connection proves nothing, as something stands before it.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(planes: usize, sims: Vec<(&'static str, u32, Sim)>, cut: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut cluster =
            Self { sims: Vec::new(), members: Vec::new(), listen: address(), control: None, folder };
        cluster.start_control();
        let mut manage = cluster.manage().await;
        for (name, slots, sim) in sims {
            let backend = v1::Backend {
                name: name.to_owned(),
                url: sim.url(),
                max_concurrency: slots,
                ..v1::Backend::default()
            };
            let request = v1::CreateBackendRequest { backend: Some(backend) };
            manage.create_backend(request).await.expect("the backend is added");
            cluster.sims.push((name, sim));
        }
        for number in 0..planes {
            let state = cluster.folder.path().join(format!("data-{number}"));
            let member = Member::new(&state, &cluster.listen, cut).await;
            cluster.members.push(member);
            cluster.start_plane(number);
        }
        cluster.whole().await;
        cluster
    }

    /// Starts the control plane, where it was.
    pub fn start_control(&mut self) {
        let state = self.folder.path().join("control").display().to_string();
        let args = ["--listen", &self.listen, "--state-dir", &state, "--probe-interval", "1s"];
        let control = Process::start("llmb-control", &[&args[..], &["--probe-timeout", "10s"]].concat(), &[]);
        let _ = control.line("its address", |line| line.contains("control plane runs"));
        self.control = Some(control);
    }

    /// The control plane, taken out of the cluster.
    ///
    /// # Panics
    /// When it does not run.
    pub fn take_control(&mut self) -> Process {
        self.control.take().expect("it runs")
    }

    /// Starts a data plane, where it was.
    pub fn start_plane(&mut self, number: usize) {
        let control = self.listen.clone();
        self.members[number].start(&control);
    }

    /// Cuts a data plane off from the control plane and from all others, or heals that.
    ///
    /// # Panics
    /// When it does not run.
    pub fn cut(&self, number: usize, cut: bool) {
        let process = self.members[number].process().id();
        for (other, member) in self.members.iter().enumerate() {
            let Some(ways) = &member.ways else { continue };
            if other == number {
                ways.control.cut(cut);
                ways.peer.cut(cut);
            } else {
                ways.peer.cut_from(process, cut);
            }
        }
    }

    /// The management API.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn manage(&self) -> ManagementClient<Channel> {
        let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
        loop {
            pace.tick().await;
            match ManagementClient::connect(format!("http://{}", self.listen)).await {
                Ok(client) => return client,
                Err(error) => assert!(began.elapsed() < PATIENCE, "no management: {error}"),
            }
        }
    }

    /// Waits until `right` finds something in the status; what, and after how long.
    ///
    /// # Panics
    /// When it does not.
    pub async fn status<T>(
        &self,
        what: &str,
        right: impl Fn(&v1::StatusResponse) -> Option<T>,
    ) -> (T, Duration) {
        let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
        let mut manage = self.manage().await;
        loop {
            pace.tick().await;
            let status = manage.status(v1::StatusRequest {}).await.expect("a status").into_inner();
            if let Some(found) = right(&status) {
                return (found, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "no {what}: {status:#?}\n{}", self.said());
        }
    }

    /// Waits until all data planes that run follow, may start requests and have acknowledged the newest snapshot, and all
    /// servers are up. How long that took.
    pub async fn whole(&self) -> Duration {
        let runs = self.members.iter().filter(|member| member.process.is_some()).count();
        let right = |status: &v1::StatusResponse| {
            let there = |plane: &&v1::DataPlane| {
                plane.connected && plane.registered && plane.serving && plane.acked == status.version
            };
            let up = |backend: &v1::Backend| {
                backend.status.as_ref().is_some_and(|status| status.health == v1::Health::Healthy as i32)
            };
            let planes = status.data_planes.iter().filter(there).count();
            (planes == runs && status.backends.iter().all(up)).then_some(())
        };
        self.status("whole fleet", right).await.1
    }

    /// The member that leads.
    pub async fn lead(&self) -> usize {
        let number = |status: &v1::StatusResponse| {
            let lead = status.data_planes.iter().find(|plane| plane.lead)?;
            self.members.iter().position(|member| member.listen == lead.serves)
        };
        self.status("lead", number).await.0
    }

    /// The servers' own count of how much they had at most at the same time.
    #[must_use]
    pub fn peaks(&self) -> Vec<(&'static str, u32)> {
        let peak = |sim: &Sim| {
            // The books are looked at where they are: a copy has all requests in it.
            let peak = Cell::new(0);
            let look = |stats: &llmsim::Stats| {
                peak.set(stats.peak);
                true
            };
            let _ = sim.wait_blocking(look, Duration::ZERO);
            peak.get()
        };
        self.sims.iter().map(|(name, sim)| (*name, peak(sim))).collect()
    }

    /// The latest requests of a server: since when and until when it had them, and whether their clients left.
    ///
    /// # Panics
    /// When there is no such server.
    #[must_use]
    pub fn latest(&self, name: &str) -> String {
        let (_, sim) = self.sims.iter().find(|(sim, _)| *sim == name).expect("a server of the cluster");
        let line = |seen: &llmsim::Seen| {
            let end = seen.end_us.map_or_else(|| "now".to_owned(), |end| end.to_string());
            let left = if seen.aborted { ", its client left" } else { "" };
            let id = seen.header("x-request-id").unwrap_or_default();
            format!("  {id} from {} to {end} us{left}\n", seen.start_us)
        };
        sim.stats().requests.iter().map(line).collect()
    }

    /// How each data plane sees itself, as far as it answers.
    pub async fn views(&self) -> String {
        let (http, mut views) = (rig::client(), String::new());
        for member in &self.members {
            let view = http.get(format!("http://{}/view", member.admin)).send().await;
            let view = match view {
                Ok(view) => view.text().await.unwrap_or_else(|error| error.to_string()),
                Err(error) => error.to_string(),
            };
            views += &format!("{}: {view}\n", member.listen);
        }
        views
    }

    /// Everything that the processes said.
    #[must_use]
    pub fn said(&self) -> String {
        let mut said = self.control.as_ref().map(Process::said).unwrap_or_default();
        for (number, member) in self.members.iter().enumerate() {
            said += &format!("\n=== data plane {number}\n{}", member.said());
        }
        said
    }
}
