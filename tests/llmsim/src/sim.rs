//! Starting, watching and stopping a simulated server.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{runtime, sync::oneshot};

use crate::{
    fault::{Armed, Fault, Scope},
    listen,
    server::Server,
    settings::Settings,
    stats::Stats,
};

/// How long a change of the listener may take.
const LISTENER_DEADLINE: Duration = Duration::from_secs(5);

/// A running simulated server. Dropping it stops it.
#[derive(Debug)]
pub struct Sim {
    address: SocketAddr,
    server: Arc<Server>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Starts a server on a thread and a runtime of its own; returns when it is bound.
///
/// # Errors
/// The address cannot be bound, or the thread or the runtime cannot be had.
pub fn start(settings: Settings) -> io::Result<Sim> {
    let listen = settings.listen;
    let server = Arc::new(Server::new(settings));
    let serving = server.clone();
    let (stop, stopped) = oneshot::channel();
    let (bound, address) = mpsc::sync_channel(1);
    // The runtime lives and dies on its thread: one must not be dropped inside another.
    let thread = thread::Builder::new()
        .name("llmsim".to_owned())
        .spawn(move || run(serving, listen, stopped, &bound))?;
    let address = address.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
    let sim = Sim { address, server, stop: Some(stop), thread: Some(thread) };
    sim.settle(sim.server.refuses());
    Ok(sim)
}

/// The life of the thread; says through `bound` how it began.
fn run(
    server: Arc<Server>,
    listen: SocketAddr,
    stopped: oneshot::Receiver<()>,
    bound: &mpsc::SyncSender<io::Result<SocketAddr>>,
) {
    let begin = || -> io::Result<_> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(async { listen::bind(listen) })?;
        let address = listener.local_addr()?;
        Ok((runtime, listener, address))
    };
    let (runtime, listener, address) = match begin() {
        Ok(begun) => begun,
        Err(error) => return drop(bound.send(Err(error))),
    };
    server.record.listening(true);
    if bound.send(Ok(address)).is_err() {
        return;
    }
    runtime.block_on(async {
        tokio::select! {
            biased;
            _ = stopped => {}
            () = listen::serve(server, listener, address) => {}
        }
    });
}

impl Sim {
    /// `http://` and the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The books as they are now.
    pub fn stats(&self) -> Stats {
        self.server.record.stats()
    }

    /// Puts a fault in force for so many strikes (`None`: until cleared), in its usual scope. The
    /// previous fault is gone. `Refuse` and `Deaf` are not counted: they stay until cleared; the listener is
    /// closed when this returns.
    pub fn set_fault(&self, fault: Fault, times: Option<u32>) {
        let scope = fault.scope();
        self.set_fault_on(fault, times, scope);
    }

    /// As [`Sim::set_fault`], with a scope.
    pub fn set_fault_on(&self, fault: Fault, times: Option<u32>, scope: Scope) {
        self.arm(Some(Armed { fault, scope, times }));
    }

    /// Nothing goes wrong any more; the listener is open when this returns.
    pub fn clear_fault(&self) {
        self.arm(None);
    }

    /// Waits until the books say `what`; `false` when the deadline comes first. `what` is called
    /// under the lock of the books and must not block.
    pub async fn wait(&self, what: impl Fn(&Stats) -> bool, deadline: Duration) -> bool {
        self.server.record.wait(what, deadline).await
    }

    /// As [`Sim::wait`], without a runtime.
    pub fn wait_blocking(&self, what: impl Fn(&Stats) -> bool, deadline: Duration) -> bool {
        self.server.record.wait_blocking(what, deadline)
    }

    /// From now on it works so many times as fast as its settings say.
    pub fn set_speed(&self, factor: f64) {
        self.server.engine.set_speed(factor);
    }

    /// As a process that ends and starts anew at once: every connection closes, and what it had in memory is gone. The
    /// books and the pace stay.
    pub fn restart(&self) {
        self.arm(Some(Armed { fault: Fault::Refuse, scope: Scope::All, times: None }));
        self.server.engine.memory.restart();
        self.arm(None);
    }

    /// Closes the listener and all connections at once, as a kill does.
    pub fn stop(mut self) {
        self.end();
    }

    fn arm(&self, armed: Option<Armed>) {
        let refuses = armed.as_ref().is_some_and(|armed| armed.fault.shuts());
        self.server.arm(armed);
        self.settle(refuses);
    }

    fn settle(&self, refuses: bool) {
        self.wait_blocking(|stats| stats.listening != refuses, LISTENER_DEADLINE);
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(address = %self.address, "the simulated server panicked");
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.end();
    }
}
