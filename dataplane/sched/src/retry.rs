//! Failover: how often a request may be tried, and how many retries the whole may cost.

use crate::{BackendId, Moment, Span};

/// How often a request is tried at most, the first attempt included.
pub const TRIES_MAX: usize = 3;
/// How long a request that reached nobody waits for one to come back, from its first failure.
pub const UNREACHED_WAIT_MAX: Span = Span::from_secs(10);
/// Retries earned by a hundred first starts.
pub const RETRY_PERCENT: u64 = 20;
/// Retries earned by a second, so that a quiet product can retry as well.
pub const RETRIES_PER_SECOND: u64 = 2;
/// Retries that can be saved up: what a large backend holds when it dies, and no more.
pub const RETRIES_MAX: u64 = 100;

/// What one retry costs; a first start earns `RETRY_PERCENT * MICRO`, a microsecond `RETRIES_PER_SECOND * 100`.
const COST: u64 = 100 * MICRO;
const MICRO: u64 = 1_000_000;

/// Where a request was tried, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    backends: [BackendId; TRIES_MAX],
    len: u8,
}

impl Tried {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(crate) fn contains(&self, backend: BackendId) -> bool {
        self.backends[..self.len()].contains(&backend)
    }

    /// Forgets the latest, which was not reached.
    pub(crate) fn pop(&mut self) {
        self.len -= 1;
    }

    /// One more. What began elsewhere after as many tries as there may be takes the place of the latest.
    pub(crate) fn push(&mut self, backend: BackendId) {
        self.len = (self.len + 1).min(TRIES_MAX as u8);
        self.backends[self.len() - 1] = backend;
    }
}

/// A bucket of retries, so that a dying fleet does not get three times the load.
pub(crate) struct Budget {
    saved: u64,
    at: Moment,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget { saved: RETRIES_MAX * COST, at: Moment::default() }
    }

    /// A request was started for the first time.
    pub(crate) fn earn(&mut self) {
        self.saved = (self.saved + RETRY_PERCENT * MICRO).min(RETRIES_MAX * COST);
    }

    /// Takes one retry, if there is one.
    pub(crate) fn spend(&mut self, now: Moment) -> bool {
        self.saved = self.saved(now);
        self.at = now;
        let can = self.saved >= COST;
        self.saved -= if can { COST } else { 0 };
        can
    }

    /// Whole retries that are left.
    pub(crate) fn left(&self, now: Moment) -> u64 {
        self.saved(now) / COST
    }

    fn saved(&self, now: Moment) -> u64 {
        let earned = now.since(self.at).0.saturating_mul(RETRIES_PER_SECOND * 100);
        self.saved.saturating_add(earned).min(RETRIES_MAX * COST)
    }
}
