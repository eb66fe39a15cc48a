//! The other data planes: where they knock, and the stream to the one that leads.

use std::{io, net::SocketAddr, sync::Arc};

use sched::permit::{Incarnation, Member};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Settings, StartError};
use crate::{
    config::Plane,
    peer::{
        Ends, Names,
        address::{here, told},
        knock::{self, Absent},
        link::{FLUSH_WITHIN, Linker, Place, Places, Seen, link},
        listen::{self, Passing},
    },
    serve::Shared,
};

/// Where other data planes knock, bound before they are told of it.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    /// The same, kept open for as long as anything may run here, whatever becomes of those who serve it: that it refuses
    /// connections is taken as proof that this process is dead.
    open: std::net::TcpListener,
    /// Where.
    pub addr: SocketAddr,
    /// What others are told.
    pub told: String,
}

impl Door {
    /// Binds; one that follows nobody has no others.
    pub async fn bind(settings: &Settings) -> Result<Option<Self>, StartError> {
        let Some(control) = settings.control.clone() else { return Ok(None) };
        let wanted = settings.peer.unwrap_or_else(|| SocketAddr::new(settings.listen.ip(), 0));
        let fault = |source| StartError::Listen { addr: wanted, source };
        let (listener, open, addr) = listen(wanted).map_err(fault)?;
        let told = match settings.peer_advertise.clone() {
            Some(given) => given,
            // Names may have to be looked up.
            None => {
                tokio::task::spawn_blocking(move || told(addr, &control, here())).await.unwrap_or_default()
            }
        };
        Ok(Some(Self { listener, open, addr, told }))
    }
}

fn listen(addr: SocketAddr) -> io::Result<(TcpListener, std::net::TcpListener, SocketAddr)> {
    let open = std::net::TcpListener::bind(addr)?;
    open.set_nonblocking(true)?;
    let (listener, addr) = (TcpListener::from_std(open.try_clone()?)?, open.local_addr()?);
    Ok((listener, open, addr))
}

/// Streams and their tasks.
#[derive(Debug)]
pub struct Peers {
    linker: Arc<Linker>,
    link: JoinHandle<()>,
    listen: JoinHandle<()>,
    knock: JoinHandle<()>,
    _open: std::net::TcpListener,
}

impl Peers {
    /// Lets others in, and what they pass on to those who serve; looks for the lead when it is asked to.
    pub fn begin(
        door: Door,
        (names, shared): (Arc<Names>, &Arc<Shared>),
        passing: Passing,
        over: CancellationToken,
    ) -> (Self, Seen) {
        let (linker, seen, link) = link(places(shared.clone()), names.clone());
        let (linker, proofs) = (Arc::new(linker), link.proofs());
        // It begins once.
        let _ = shared.lead.set(seen.lead.clone());
        let ends: Arc<dyn Ends> = shared.dispatch.clone();
        shared.dispatch.join(linker.clone(), &shared.snapshot.load());
        let link = tokio::spawn(link.run(ends.clone()));
        let left = Arc::new(Notify::new());
        let knock = tokio::spawn(knock::watch(absent(shared.clone()), left.clone(), proofs));
        let listen = tokio::spawn(listen::serve(door.listener, (ends, names), passing, (left, over)));
        (Self { linker, link, listen, knock, _open: door.open }, seen)
    }

    /// What was said to the lead gets through, then nothing more is said.
    pub async fn end(&mut self) {
        self.linker.end();
        if timeout(2 * FLUSH_WITHIN, &mut self.link).await.is_err() {
            tracing::warn!("the stream to the lead does not end");
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.link.abort();
        self.listen.abort();
        self.knock.abort();
    }
}

/// The process that a picture names as lead is at the address of its row.
fn places(shared: Arc<Shared>) -> Places {
    Arc::new(move |number| {
        let snapshot = shared.snapshot.load();
        let term = snapshot.planes.lead.as_ref().filter(|lead| lead.number == number)?.term;
        let row = snapshot.planes.rows.iter().find(|row| row.number == number)?;
        (row.dead_through < row.incarnation).then(|| Place { door: door(row), term })
    })
}

/// Those that are to follow this data plane, which leads, and do not.
fn absent(shared: Arc<Shared>) -> Absent {
    Arc::new(move || {
        let absent = shared.dispatch.absent();
        let snapshot = shared.snapshot.load();
        let rows = snapshot.planes.rows.iter();
        let process = |row: &&Plane| {
            absent.contains(&Member { plane: row.number, incarnation: Incarnation(row.incarnation) })
        };
        rows.filter(process).map(door).collect()
    })
}

fn door(row: &Plane) -> knock::Door {
    knock::Door { plane: row.id.clone(), incarnation: row.incarnation, address: row.peer.clone() }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn connections_are_not_refused_while_the_process_lives_whoever_serves_them() {
        let (listener, open, addr) = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        drop(listener);
        assert!(TcpStream::connect(addr).is_ok());
        drop(open);
        let refused = TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
