//! The way of TCP connections to one address, which can be cut and healed: cut, nothing gets through and nothing breaks.

use std::net::SocketAddr;

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
    cut: watch::Sender<bool>,
    _all: JoinSet<()>,
}

impl Cable {
    /// A way to `HOST:PORT`, which need not listen yet.
    ///
    /// # Panics
    /// When no port is to be had.
    pub async fn new(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let (cut, is_cut) = watch::channel(false);
        let mut all = JoinSet::new();
        all.spawn(accept(listener, to, is_cut));
        Self { addr, cut, _all: all }
    }

    /// Nothing gets through from now on.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// What was held up gets through, and so does everything else.
    pub fn heal(&self) {
        self.cut.send_replace(false);
    }
}

async fn accept(listener: TcpListener, to: String, cut: watch::Receiver<bool>) {
    let mut ways = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { return };
                ways.spawn(carry(near, to.clone(), cut.clone()));
            }
            Some(_) = ways.join_next() => {}
        }
    }
}

async fn carry(near: TcpStream, to: String, mut cut: watch::Receiver<bool>) {
    if whole(&mut cut).await {
        let Ok(far) = TcpStream::connect(to).await else { return };
        // Small messages go at once, as they would without the cable.
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = pipe(near_read, far_write, cut.clone()) => {}
            () = pipe(far_read, near_write, cut) => {}
        }
    }
}

/// True when it is not cut, for which it waits; false when the cable is gone.
async fn whole(cut: &mut watch::Receiver<bool>) -> bool {
    cut.wait_for(|cut| !cut).await.is_ok()
}

async fn pipe(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece).await.unwrap_or(0);
        if !whole(&mut cut).await || count == 0 || to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
