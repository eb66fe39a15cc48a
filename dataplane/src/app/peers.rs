//! The other data planes: where they knock, and the stream to the one that leads.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Settings, StartError};
use crate::{
    peer::{
        Ends, Names,
        address::{here, told},
        link::{FLUSH_WITHIN, Linker, Place, Places, Seen, link},
        listen::{self, Passing},
    },
    serve::Shared,
};

/// Where other data planes knock, bound before they are told of it.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
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
        let listener = TcpListener::bind(wanted).await.map_err(fault)?;
        let addr = listener.local_addr().map_err(fault)?;
        let told = match settings.peer_advertise.clone() {
            Some(given) => given,
            // Names may have to be looked up.
            None => {
                tokio::task::spawn_blocking(move || told(addr, &control, here())).await.unwrap_or_default()
            }
        };
        Ok(Some(Self { listener, addr, told }))
    }
}

/// Streams and their tasks.
#[derive(Debug)]
pub struct Peers {
    linker: Arc<Linker>,
    link: JoinHandle<()>,
    listen: JoinHandle<()>,
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
        let linker = Arc::new(linker);
        // It begins once.
        let _ = shared.lead.set(seen.lead.clone());
        let ends: Arc<dyn Ends> = shared.dispatch.clone();
        shared.dispatch.join(linker.clone(), &shared.snapshot.load());
        let link = tokio::spawn(link.run(ends.clone()));
        let listen = tokio::spawn(listen::serve(door.listener, (ends, names), passing, over));
        (Self { linker, link, listen }, seen)
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
    }
}

/// The process that a picture names as lead is at the address of its row.
fn places(shared: Arc<Shared>) -> Places {
    Arc::new(move |number| {
        let snapshot = shared.snapshot.load();
        let term = snapshot.planes.lead.as_ref().filter(|lead| lead.number == number)?.term;
        let row = snapshot.planes.rows.iter().find(|row| row.number == number)?;
        (row.dead_through < row.incarnation).then(|| Place {
            plane: row.id.clone(),
            incarnation: row.incarnation,
            address: row.peer.clone(),
            term,
        })
    })
}
