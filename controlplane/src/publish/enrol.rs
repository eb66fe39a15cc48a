//! Data planes enter the registry, leave it, and one of them is appointed: durable first, told then.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{MissedTickBehavior, interval};

use super::Publisher;
use crate::{
    fleet::{Denial, Entry, Hello, Proof},
    probe::watch::unix_ms,
    store::{Store, StoreFault},
};

/// Between two looks at who leads, and at who could not be registered.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One that another says is dead, but follows, is looked at so often, so many times.
const CLAIM_EVERY: Duration = Duration::from_millis(50);
const CLAIM_LOOKS: u32 = 40;
/// When data planes were heard of is kept once in so many looks.
const SEEN_EVERY: u32 = 60;

/// The registry and those who must see it.
#[derive(Clone)]
pub struct Enrol {
    publisher: Arc<Publisher>,
    store: Arc<Store>,
}

impl Enrol {
    /// On the parts that it reads and writes.
    #[must_use]
    pub fn new(publisher: Arc<Publisher>, store: Arc<Store>) -> Self {
        Enrol { publisher, store }
    }

    /// Registers a data plane. While the store takes no writes it may follow all the same, and is registered later.
    ///
    /// # Errors
    /// [`Denial`]: it may not follow.
    pub async fn hello(&self, hello: &Hello) -> Result<(), Denial> {
        let now_ms = unix_ms();
        if self.store.registry().admit(hello, now_ms)?.is_none() {
            return Ok(());
        }
        match self.enter(Entry::Hello(Box::new(hello.clone()), now_ms)).await {
            Ok(()) => {
                let (plane, incarnation) = (&hello.plane, hello.incarnation);
                tracing::info!(plane, incarnation, "registered");
                Ok(())
            }
            Err(StoreFault::Denied(denial)) => Err(denial),
            Err(fault) => {
                tracing::warn!(%fault, plane = hello.plane, "cannot be registered yet");
                Ok(())
            }
        }
    }

    /// Makes a change of the registry durable, then tells it.
    ///
    /// # Errors
    /// [`StoreFault`]; nothing changed.
    pub async fn enter(&self, entry: Entry) -> Result<(), StoreFault> {
        self.store.enter(entry).await?;
        self.publisher.adopt(|| self.store.registry());
        Ok(())
    }

    /// An incarnation is proven dead, by `how`. Nothing is done for one that follows.
    pub async fn dead(&self, plane: &str, incarnation: u64, proof: Proof, how: &str) {
        if self.follows(plane, incarnation) {
            tracing::warn!(plane, incarnation, how, "is said to be dead, but follows");
            return;
        }
        match self.enter(Entry::Dead { plane: plane.to_owned(), incarnation, proof }).await {
            Ok(()) => tracing::info!(plane, incarnation, how, "is dead"),
            Err(fault) => tracing::warn!(%fault, plane, incarnation, how, "is not taken for dead"),
        }
        self.appoint().await;
    }

    fn follows(&self, plane: &str, incarnation: u64) -> bool {
        let follows =
            |plane: &crate::fleet::Plane| plane.stream.is_some() && plane.hello.incarnation <= incarnation;
        self.publisher.with_fleet(|fleet| fleet.plane(plane).is_some_and(follows))
    }

    /// A data plane says that another refused its connection. What died breaks all its connections at about the same time:
    /// the end of its stream here is waited for a little.
    pub async fn refused(&self, plane: &str, incarnation: u64, how: &str) {
        let mut tick = interval(CLAIM_EVERY);
        for _ in 0..CLAIM_LOOKS {
            if !self.follows(plane, incarnation) {
                break;
            }
            tick.tick().await;
        }
        self.dead(plane, incarnation, Proof::Refused, how).await;
    }

    /// Makes durable what a data plane has acknowledged, as far as it matters who may go on by himself.
    pub async fn acked(&self, plane: &str) {
        if let Some(entry) = self.publisher.acked(plane)
            && let Err(fault) = self.enter(entry).await
        {
            tracing::warn!(%fault, plane, "cannot note what it has acknowledged");
        }
    }

    /// Who was silent for as long as it knew to count as its death is dead.
    async fn reclaim(&self) {
        for (plane, incarnation) in self.publisher.condemned() {
            match self.enter(Entry::Dead { plane: plane.clone(), incarnation, proof: Proof::Silence }).await {
                Ok(()) => tracing::warn!(plane, incarnation, "was silent for too long and counts as dead"),
                Err(StoreFault::Denied(denial)) => {
                    tracing::warn!(%denial, plane, incarnation, "is silent");
                    self.publisher.spare(&plane);
                }
                Err(fault) => {
                    tracing::warn!(%fault, plane, incarnation, "is silent, which cannot be noted");
                }
            }
        }
    }

    /// Appoints who should lead, where it is not who does. Does nothing while the store takes no writes.
    pub async fn appoint(&self) {
        let Some((plane, incarnation, after)) = self.publisher.successor() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        match self.enter(Entry::Appoint { after, plane: plane.clone(), incarnation, now_us }).await {
            // Another task was first.
            Ok(()) | Err(StoreFault::Denied(Denial::Stale { .. })) => {}
            Err(fault) => tracing::warn!(%fault, plane, "cannot be appointed"),
        }
    }

    /// Looks after all of it until it is dropped.
    pub async fn run(self) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0_u32;
        loop {
            tick.tick().await;
            if self.store.ready().is_err() {
                continue;
            }
            let unregistered: Vec<Hello> =
                self.publisher.with_fleet(|fleet| fleet.unregistered().cloned().collect());
            for hello in unregistered {
                if let Err(denial) = self.hello(&hello).await {
                    tracing::error!(%denial, plane = hello.plane, "it may not follow");
                    self.publisher.expel(&hello.plane);
                }
            }
            let known: Vec<String> =
                self.publisher.with_fleet(|fleet| fleet.ids().map(str::to_owned).collect());
            for plane in known {
                self.acked(&plane).await;
            }
            self.reclaim().await;
            self.appoint().await;
            looks = (looks + 1) % SEEN_EVERY;
            if looks == 0 {
                let seen = self.publisher.with_fleet(|fleet| fleet.seen().collect());
                if let Err(fault) = self.enter(Entry::Seen(seen, unix_ms())).await {
                    tracing::warn!(%fault, "cannot note when data planes were heard of");
                }
            }
        }
    }
}
