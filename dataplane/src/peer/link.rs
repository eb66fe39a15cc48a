//! The stream from this data plane to the one that leads.

use std::{
    future::pending,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use hyper_util::rt::TokioIo;
use proto::v1::{self, follow_up::Message, peer_client::PeerClient};
use sched::permit::{Down, PlaneId, Up};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{codegen::Service, transport::Endpoint};

use crate::config::chance;

use super::{
    Ends, Fault, Links, MESSAGE_BYTES_MAX, Names, Outbox, PING_EVERY, PING_WITHIN,
    knock::{Closed, Door, Proofs},
    parse, render,
    silence::{LeadSeen, Stance, watch as watch_silence},
};

/// One that is reached answers the call within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// The first wait after a failure is at most this; the bound doubles with each.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// No wait is shorter.
const WAIT_MIN: Duration = Duration::from_millis(50);
/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// A stream whose lead spoke for so long was a good one: its end is told at once.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// At the end of the process, what was said has this long to get through.
pub const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// Proofs of death on their way to the control plane at most; what finds no room is found out again.
const DEAD_MAX: usize = 16;

/// Where the lead is, by the last picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The process.
    pub door: Door,
    /// By which it leads.
    pub term: u64,
}

/// Where the data plane with a number is, if it leads by the last picture.
pub type Places = Arc<dyn Fn(PlaneId) -> Option<Place> + Send + Sync>;

/// What the control plane is to know of the lead.
#[derive(Debug)]
pub struct Seen {
    /// How it stands with the lead; none: this data plane has looked for none.
    pub lead: watch::Receiver<Option<LeadSeen>>,
    /// Proofs of death.
    pub dead: mpsc::Receiver<v1::Dead>,
}

impl Seen {
    /// Who is told from now on has not heard how it stands with the lead.
    pub fn anew(&mut self) {
        self.lead.mark_changed();
    }

    /// What is to be told next. Waits as long as all is told; dropped, it has taken nothing.
    pub async fn next(&mut self) -> Message {
        loop {
            tokio::select! {
                Ok(()) = self.lead.changed() => {
                    if let Some(LeadSeen { term, silent }) = *self.lead.borrow_and_update() {
                        return Message::LeadSeen(v1::LeadSeen { term, silent });
                    }
                }
                Some(dead) = self.dead.recv() => return Message::Dead(dead),
                else => pending().await,
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nobody,
    Lead {
        lead: PlaneId,
        attempt: u64,
    },
    /// The process ends: nothing else is wished any more.
    End,
}

/// Asks for streams.
#[derive(Debug)]
pub struct Linker {
    wish: watch::Sender<Wish>,
}

impl Linker {
    /// Lets what was said get through, and opens no more streams.
    pub fn end(&self) {
        self.wish.send_replace(Wish::End);
    }

    fn wish(&self, next: Wish) {
        self.wish.send_if_modified(|wish| {
            let on = *wish != Wish::End;
            if on {
                *wish = next;
            }
            on
        });
    }
}

impl Links for Linker {
    fn connect(&self, lead: PlaneId, attempt: u64) {
        self.wish(Wish::Lead { lead, attempt });
    }

    fn disconnect(&self) {
        self.wish(Wish::Nobody);
    }
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("it does not lead by the last picture")]
    Unplaced,
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("it does not answer in time")]
    Late,
    #[error("no stream: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("the stream ended: {0}")]
    Stream(#[from] tonic::Status),
    #[error("what it says is not understood: {0}")]
    Word(#[from] Fault),
}

/// Opens streams as it is asked, one at a time.
pub struct Link {
    wish: watch::Receiver<Wish>,
    names: Arc<Names>,
    places: Places,
    stance: watch::Sender<Stance>,
    seen: watch::Sender<Option<LeadSeen>>,
    dead: Proofs,
}

/// A link, who asks it for streams, and what it finds out.
#[must_use]
pub fn link(places: Places, names: Arc<Names>) -> (Linker, Seen, Link) {
    let (asks, wish) = watch::channel(Wish::Nobody);
    let (seen, lead) = watch::channel(None);
    let (dead, proofs) = mpsc::channel(DEAD_MAX);
    let stance = watch::Sender::new(Stance::Nobody);
    let link = Link { wish, names, places, stance, seen, dead };
    (Linker { wish: asks }, Seen { lead, dead: proofs }, link)
}

impl Link {
    /// By which the control plane is told who is dead.
    #[must_use]
    pub fn proofs(&self) -> Proofs {
        self.dead.clone()
    }

    /// Opens streams until [`Linker::end`], and tells `ends` of them.
    pub async fn run(self, ends: Arc<dyn Ends>) {
        let watching = watch_silence(self.stance.subscribe(), self.seen.clone());
        tokio::select! {
            () = watching => {}
            () = self.follow(&*ends) => {}
        }
    }

    async fn follow(&self, ends: &dyn Ends) {
        let (mut wishes, mut failures) = (self.wish.clone(), 0_u32);
        loop {
            let wish = *wishes.borrow_and_update();
            match wish {
                Wish::End => return,
                Wish::Nobody => drop(self.stance.send_replace(Stance::Nobody)),
                Wish::Lead { lead, attempt } => {
                    let ending = CancellationToken::new();
                    let mut trying = pin!(self.attempt(ends, (lead, attempt), failures, &ending));
                    tokio::select! {
                        good = &mut trying => failures = if good { 0 } else { failures.saturating_add(1) },
                        changed = wishes.changed() => {
                            if changed.is_ok() && *wishes.borrow() == Wish::End {
                                ending.cancel();
                                let _ = timeout(FLUSH_WITHIN, trying).await;
                            }
                            continue;
                        }
                    }
                }
            }
            if wishes.changed().await.is_err() {
                return;
            }
        }
    }

    /// One stream up to its end, which is told. The answer is whether it was a good one.
    async fn attempt(
        &self,
        ends: &dyn Ends,
        (lead, attempt): (PlaneId, u64),
        failures: u32,
        ending: &CancellationToken,
    ) -> bool {
        let place = (self.places)(lead);
        if let Some(place) = &place {
            self.stance.send_modify(|stance| *stance = stance.sought(place.term, Instant::now()));
        }
        let mut welcomed = None;
        let ended = match &place {
            Some(place) => self.session(ends, place, attempt, (ending, &mut welcomed)).await,
            None => Err(LinkError::Unplaced),
        };
        if let Some(place) = &place {
            self.stance.send_modify(|stance| *stance = stance.sought(place.term, Instant::now()));
        }
        if ending.is_cancelled() {
            return true;
        }
        let good = welcomed.is_some_and(|at: Instant| at.elapsed() >= GOOD_AFTER);
        if let Err(error) = ended {
            let plane = place.as_ref().map(|place| place.door.plane.as_str());
            match good {
                true => tracing::info!(plane, attempt, %error, "the lead is lost"),
                false => tracing::debug!(plane, attempt, %error, "the lead is not reached"),
            }
        }
        if !good {
            sleep(rest(failures, chance())).await;
        }
        ends.lost(attempt);
        good
    }

    async fn session(
        &self,
        ends: &dyn Ends,
        place: &Place,
        attempt: u64,
        (ending, welcomed): (&CancellationToken, &mut Option<Instant>),
    ) -> Result<(), LinkError> {
        let stream = tokio::select! {
            stream = place.door.connect(&self.dead) => stream?,
            () = ending.cancelled() => return Ok(()),
        };
        let endpoint = Endpoint::from_static("http://peer")
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_with_connector(Once(Some(stream))).await?;
        let (out, said) = Outbox::pair();
        ends.connected(attempt, out);
        let mut client = PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        // One that is given up ends, though whoever speaks by it does not know yet.
        let over = ending.child_token();
        let _given_up = over.clone().drop_guard();
        let joined = client.join(speech(said, self.names.clone(), over));
        let joined = timeout(ANSWER_WITHIN, joined).await.map_err(|_| LinkError::Late)??;
        let mut down = joined.into_inner();
        while let Some(message) = down.message().await? {
            // A word of a later version is nothing that must be known.
            let Some(message) = parse::down(message, &self.names)? else { continue };
            if matches!(message, Down::Welcome { .. }) {
                welcomed.get_or_insert_with(Instant::now);
                self.stance.send_replace(Stance::Heard(place.term));
            }
            ends.heard(attempt, message);
        }
        Ok(())
    }
}

/// What is said, as the wire has it. At the end of the process it ends behind what has been said by then.
fn speech(
    said: mpsc::Receiver<Up>,
    names: Arc<Names>,
    ending: CancellationToken,
) -> impl Stream<Item = v1::PeerUp> + Send + 'static {
    futures_util::stream::unfold((said, names, ending), |(mut said, names, ending)| async move {
        let message = tokio::select! {
            biased;
            message = said.recv() => message?,
            () = ending.cancelled() => {
                said.close();
                said.recv().await?
            }
        };
        match render::up(&message, &names) {
            Ok(rendered) => Some((rendered, (said, names, ending))),
            Err(fault) => {
                tracing::error!(%fault, "what is to be said to the lead cannot be: the stream ends");
                None
            }
        }
    })
}

/// Gives a connection that is there.
struct Once(Option<TcpStream>);

impl Service<http::Uri> for Once {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new);
        std::future::ready(stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// Drawn from a range whose end doubles with each failure.
fn rest(failures: u32, chance: f64) -> Duration {
    let most = WAIT_FIRST.saturating_mul(1 << failures.min(16)).min(WAIT_MAX);
    WAIT_MIN + (most - WAIT_MIN).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_failures_within_bounds() {
        let ms = Duration::from_millis;
        let bounds = [0, 1, 2, 3, 4, 40].map(|failures| (rest(failures, 0.0), rest(failures, 1.0)));
        assert_eq!(bounds, [100, 200, 400, 800, 1_000, 1_000].map(|most| (ms(50), ms(most))));
    }
}
