//! The way of TCP connections to one address, which can be cut and healed: cut, nothing gets through and nothing breaks.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};

/// Bytes on their way in one direction at most, beside what the system buffers.
const PIECE_BYTES: usize = 16 * 1024;

/// Where others connect instead of to the address itself.
#[derive(Debug)]
pub struct Cable {
    /// Where.
    pub addr: SocketAddr,
    cut: watch::Sender<Cut>,
    _all: JoinSet<()>,
}

/// For whom nothing gets through.
#[derive(Debug, Default)]
struct Cut {
    everybody: bool,
    /// Processes by their ids.
    some: BTreeSet<u32>,
}

impl Cable {
    /// A way to `HOST:PORT`, which need not listen yet.
    ///
    /// # Panics
    /// When no port is to be had.
    pub async fn new(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let (cut, is_cut) = watch::channel(Cut::default());
        let mut all = JoinSet::new();
        all.spawn(accept(listener, to, is_cut));
        Self { addr, cut, _all: all }
    }

    /// Nothing gets through from now on, or everything again, what was held up first.
    pub fn cut(&self, cut: bool) {
        self.cut.send_modify(|now| now.everybody = cut);
    }

    /// The same for one process of this machine that connects here.
    pub fn cut_from(&self, process: u32, cut: bool) {
        self.cut.send_modify(|now| {
            if cut {
                now.some.insert(process)
            } else {
                now.some.remove(&process)
            };
        });
    }
}

async fn accept(listener: TcpListener, to: String, cut: watch::Receiver<Cut>) {
    let mut ways = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, from)) = accepted else { return };
                let socket = socket(from);
                ways.spawn(carry(near, to.clone(), Open { cut: cut.clone(), socket }));
            }
            Some(_) = ways.join_next() => {}
        }
    }
}

/// Whether a connection is cut.
#[derive(Clone)]
struct Open {
    cut: watch::Receiver<Cut>,
    /// The number of the socket at its other end.
    socket: Option<String>,
}

impl Open {
    /// True when it is not cut, for which it waits; false when the cable is gone.
    async fn whole(&mut self) -> bool {
        let socket = self.socket.as_deref();
        let whole = |cut: &Cut| !cut.everybody && !cut.some.iter().any(|process| has(*process, socket));
        self.cut.wait_for(whole).await.is_ok()
    }
}

/// The number of the socket of this machine that has this address.
fn socket(addr: SocketAddr) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let local = format!(":{:04X}", addr.port());
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // Both ends of a connection within a machine are there; the other end has this port as the remote one.
    let mut own = rows.filter(|row| row.len() > 9 && row[1].ends_with(&local) && row[9] != "0");
    own.next().map(|row| format!("socket:[{}]", row[9]))
}

fn has(process: u32, socket: Option<&str>) -> bool {
    let (Some(socket), Ok(all)) = (socket, fs::read_dir(format!("/proc/{process}/fd"))) else { return false };
    let mut links = all.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.to_str() == Some(socket))
}

async fn carry(near: TcpStream, to: String, mut open: Open) {
    if open.whole().await {
        let Ok(far) = TcpStream::connect(to).await else { return };
        // Small messages go at once, as they would without the cable.
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = pipe(near_read, far_write, open.clone()) => {}
            () = pipe(far_read, near_write, open) => {}
        }
    }
}

async fn pipe(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut open: Open) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece).await.unwrap_or(0);
        if !open.whole().await || count == 0 || to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
