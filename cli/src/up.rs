//! `llmctl up`: both planes in this process, until Ctrl-C.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use controlplane::app as control;
use dataplane::app as data;
use proto::v1;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep},
};
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Global, Output, Up},
    backend,
    client::Client,
    demo::{self, Demo},
    discover,
    failure::Failure,
    greet::{self, Greeting},
    out::say,
    route,
};

/// How long the first probes and the first snapshot may take before `up` speaks all the same.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// Between two looks at whether they are there.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs both planes until SIGINT or SIGTERM.
///
/// # Errors
/// [`Failure::Failed`] in a sentence when a plane does not start, [`Failure::Input`] for a bad `--backend`.
pub async fn run(global: &Global, up: Up) -> Result<(), Failure> {
    log();
    let mut stop = Stop::new()?;
    let demo = if up.demo { Some(Demo::start()?) } else { None };
    let forgotten = if up.demo { Some(tempfile::tempdir().map_err(no_folder)?) } else { None };
    let state_dir = match &forgotten {
        Some(folder) => folder.path().to_path_buf(),
        None => up.state_dir.clone().unwrap_or_else(data::state_dir),
    };
    let planes = Planes::start(&up, state_dir).await?;
    let served = tokio::select! {
        served = serve(global, &up, &planes, demo.as_ref()) => served.map(drop),
        why = planes.control.failed() => Err(Failure::Failed(format!("the control plane cannot go on: {why}"))),
        () = stop.asked() => Ok(()),
    };
    if served.is_ok() {
        say("Stopping, once running answers have ended; Ctrl-C again cuts them.\n");
    }
    tokio::select! {
        () = planes.stop() => {}
        () = stop.asked() => {}
    }
    served
}

fn no_folder(error: io::Error) -> Failure {
    Failure::Failed(format!("no temporary folder can be made: {error}"))
}

/// To stderr, by `LLMB_LOG`; warnings when it is not set.
fn log() {
    let filter = EnvFilter::try_from_env("LLMB_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

/// SIGINT and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Stop, Failure> {
        let on = |kind| {
            signal(kind).map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")))
        };
        Ok(Stop { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

struct Planes {
    control: control::Running,
    data: data::Running,
}

impl Planes {
    async fn start(up: &Up, state_dir: PathBuf) -> Result<Planes, Failure> {
        let settings = control::Settings {
            listen: up.control_listen,
            insecure_listen: up.insecure_listen,
            state_dir: state_dir.clone(),
            probe_interval: up.probe_interval,
            ..control::Settings::default()
        };
        let control = control::start(settings).await.map_err(|error| match &error {
            control::StartError::Listen { addr, source } if taken(source) => {
                in_use(*addr, "--control-listen")
            }
            _ => refused("control", &error),
        })?;
        let settings = data::Settings {
            listen: up.listen,
            tls: up.tls_cert.clone().zip(up.tls_key.clone()).map(|(cert, key)| data::TlsFiles { cert, key }),
            admin: up.admin_listen,
            insecure_listen: up.insecure_listen,
            control: Some(greet::url(control.addr)),
            state_dir,
            queue_wait: up.queue_wait,
            trust_control: true,
            tape: up.tape.clone(),
            ..data::Settings::default()
        };
        match data::start(settings).await {
            Ok(data) => Ok(Planes { control, data }),
            Err(error) => {
                control.stop().await;
                Err(match &error {
                    data::StartError::Listen { addr, source } if taken(source) => {
                        in_use(*addr, if *addr == up.listen { "--listen" } else { "--admin-listen" })
                    }
                    _ => refused("data", &error),
                })
            }
        }
    }

    /// The data plane first: it says goodbye to a control plane that still listens.
    async fn stop(self) {
        self.data.stop().await;
        self.control.stop().await;
    }
}

fn taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn in_use(addr: SocketAddr, flag: &str) -> Failure {
    Failure::Failed(format!(
        "another process listens on {addr}, perhaps another `llmctl up`: stop it, or give another address by {flag}"
    ))
}

fn refused(plane: &str, error: &dyn std::error::Error) -> Failure {
    Failure::Failed(format!("the {plane} plane does not start: {error}"))
}

/// Sets the backends up, says what there is, and goes on for ever.
async fn serve(
    global: &Global,
    up: &Up,
    planes: &Planes,
    demo: Option<&Demo>,
) -> Result<std::convert::Infallible, Failure> {
    let control = planes.control.addr;
    let own = Global { control: greet::url(control), output: Output::Table, timeout: global.timeout };
    let client = Client::connect(&own).await?;
    let mut notes = match demo {
        Some(demo) => simulated(&client, demo).await?,
        None => discover::given(&client, &up.backends).await?,
    };
    if demo.is_none() && (up.discover || (up.backends.is_empty() && !up.no_discover)) {
        let ports = [up.listen, up.control_listen, up.admin_listen].map(|addr: SocketAddr| addr.port());
        notes.extend(discover::local(&client, &ports).await?);
    }
    if !planes.data.ready(SETTLE_MAX).await || !settled(&client).await? {
        notes.push("The data plane has not taken up the newest snapshot yet.".to_owned());
    }
    let llmctl = greet::llmctl(control);
    let base = greet::base(planes.data.listen, up.tls_cert.is_some());
    let commands = demo.map(|_| demo::commands(&base, &llmctl));
    let greeting = Greeting {
        base: &base,
        admin: planes.data.admin,
        control,
        backends: &backend::all(&client).await?,
        notes: &notes,
        commands: commands.unwrap_or_default(),
        llmctl: &llmctl,
    };
    say(&greeting.text());
    std::future::pending().await
}

async fn simulated(client: &Client, demo: &Demo) -> Result<Vec<String>, Failure> {
    for (name, url) in demo.backends() {
        backend::create(client, v1::Backend { name, url, ..v1::Backend::default() }).await?;
    }
    for route in demo::routes() {
        route::create(client, route).await?;
    }
    Ok(vec!["Demo: the servers below are simulated, and all of this is forgotten at the end.".to_owned()])
}

/// Waits until every backend is probed and a data plane serves by the newest snapshot; false when the time is over. It must
/// be so at two looks: what a probe has just found is in no snapshot yet.
async fn settled(client: &Client) -> Result<bool, Failure> {
    let end = Instant::now() + SETTLE_MAX;
    let mut before = None;
    loop {
        let status = client.answer(client.rpc().status(v1::StatusRequest {})).await?;
        let probed = status.backends.iter().all(|backend| {
            backend.status.as_ref().is_some_and(|status| status.health() != v1::Health::Unspecified)
        });
        let current = |plane: &v1::DataPlane| plane.connected && plane.acked == status.version;
        let followed = status.version.is_some() && status.data_planes.iter().any(current);
        let now = status.version.filter(|_| probed && followed);
        if now.is_some() && now == before {
            return Ok(true);
        }
        before = now;
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
    }
}
