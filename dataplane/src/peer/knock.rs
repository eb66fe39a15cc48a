//! Whether another data plane listens where it says: a refused connection proves it dead.

use std::{io, sync::Arc, time::Duration};

use futures_util::future::join_all;
use proto::v1;
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

use super::address::{self, Address, Nowhere};

/// To connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// What died may listen for a moment longer than its stream lasted: who was found there is knocked at again after this.
const REST_FIRST: Duration = Duration::from_millis(20);
/// No rest is longer; each is twice as long as the one before.
const REST_MAX: Duration = Duration::from_secs(1);

/// A process that told an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The id of its data plane.
    pub plane: String,
    /// Its incarnation.
    pub incarnation: u64,
    /// What it told.
    pub address: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// There is no way there.
    #[error(transparent)]
    Nowhere(#[from] Nowhere),
    /// The system's word.
    #[error("it cannot be reached: {0}")]
    Connect(#[from] io::Error),
    /// No answer for too long.
    #[error("it does not answer in time")]
    Late,
}

/// Those who should have a stream to this data plane, as they follow it, and have none; few calls a second.
pub type Absent = Arc<dyn Fn() -> Vec<Door> + Send + Sync>;

/// Proofs of death on their way to the control plane.
pub type Proofs = mpsc::Sender<v1::Dead>;

impl Door {
    /// A connection to it. One that is refused may prove it dead.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn connect(&self, proofs: &Proofs) -> Result<TcpStream, Closed> {
        let address = Address::of(&self.address, address::here())?;
        let connected = timeout(CONNECT_WITHIN, address.connect()).await.map_err(|_| Closed::Late)?;
        if let Err(error) = &connected
            && error.kind() == io::ErrorKind::ConnectionRefused
            && address.proves
        {
            let reason = format!("{} refuses connections", address.authority);
            let (plane_id, incarnation) = (self.plane.clone(), self.incarnation);
            // Where there is no room, it will be refused again.
            let _ = proofs.try_send(v1::Dead { plane_id, incarnation, reason });
        }
        Ok(connected?)
    }
}

/// Knocks at all who are absent: at once when one has `left`, and from time to time for as long as they are. Without it
/// nobody would find a follower dead, whose slots would be lost.
pub async fn watch(absent: Absent, left: Arc<Notify>, proofs: Proofs) {
    let mut rest = REST_FIRST;
    loop {
        tokio::select! {
            () = left.notified() => rest = REST_FIRST,
            () = sleep(rest) => rest = (2 * rest).min(REST_MAX),
        }
        let doors = absent();
        join_all(doors.iter().map(|door| door.connect(&proofs))).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::Mutex};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn one_that_refuses_connections_at_its_own_address_is_proven_dead() {
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        let here = address::here().expect("this machine says what its network is");
        let door =
            |plane: &str, addr: String| Door { plane: plane.to_owned(), incarnation: 3, address: addr };
        let (lives, gone) = (listener(), listener());
        let at = |listener: &TcpListener| listener.local_addr().unwrap();
        let doors = [
            door("lives", format!("{}@{here}", at(&lives))),
            door("elsewhere", at(&gone).to_string()),
            door("gone", format!("{}@{here}", at(&gone))),
        ];
        drop(gone);
        let absent = Arc::new(Mutex::new(doors.to_vec()));
        let look = absent.clone();
        let (proofs, mut proven) = mpsc::channel(1);
        let left = Arc::new(Notify::new());
        let watching =
            tokio::spawn(watch(Arc::new(move || look.lock().unwrap().clone()), left.clone(), proofs));
        let mut next = async || {
            let dead = timeout(DEADLINE, proven.recv()).await.expect("in time").expect("it goes on");
            (dead.plane_id, dead.incarnation)
        };
        // the channel has room for one: each is found out again
        for _ in 0..3 {
            assert_eq!(next().await, ("gone".to_owned(), 3));
        }
        absent.lock().unwrap().truncate(1);
        drop(lives);
        left.notify_one();
        while next().await.0 != "lives" {}
        watching.abort();
    }
}
