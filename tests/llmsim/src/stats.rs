//! What happened so far, and waiting for it to happen.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

/// Request bodies kept in the record, together; the oldest requests are dropped above it.
pub const BODY_BYTES_KEPT: usize = 64 << 20;
/// Requests kept in [`Stats::others`].
pub const OTHERS_KEPT: usize = 256;

/// Microseconds since the first simulated server of this process was started: one clock for all of
/// them, so that their records can be compared.
pub fn now_us() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// The books of one server.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Work in the server now, waiting inside or running, until the engine has stopped with it.
    pub running: u32,
    /// The largest `running` so far.
    pub peak: u32,
    /// Slots in use now.
    pub busy: u32,
    /// Work taken in.
    pub accepted: u64,
    /// Work the engine has completed.
    pub finished: u64,
    /// Work whose client left.
    pub aborted: u64,
    /// Work cut by a fault.
    pub failed: u64,
    /// Requests answered with an error before they became work, injected ones included.
    pub refused: u64,
    /// Prompt tokens read so far, without those that were cached.
    pub prompt_tokens: u64,
    /// Prompt tokens that were cached.
    pub cached_tokens: u64,
    /// Models loaded.
    pub loads: u64,
    /// Models taken out of memory to make room for others.
    pub evictions: u64,
    /// Generations that ended with such a model.
    pub killed: u64,
    /// Tokens written so far.
    pub output_tokens: u64,
    /// Requests for work in order of arrival, refused ones included.
    pub requests: VecDeque<Seen>,
    /// Requests dropped from the front of `requests`.
    pub dropped: u64,
    /// The latest other requests: lists, probes, token counts.
    pub others: VecDeque<Seen>,
    /// The listener is open.
    pub listening: bool,
    /// Connections open now.
    pub connections: u32,
    /// Connections accepted.
    pub connected: u64,
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Path and query.
    pub path: String,
    /// The model it names; empty where it names none.
    pub model: String,
    /// Header names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
    /// Tokens of its prompt that were read; zero before.
    pub prompt_tokens: u32,
    /// Tokens of its prompt that were cached.
    pub cached_tokens: u32,
    /// When it had arrived, by [`now_us`].
    pub start_us: u64,
    /// When the engine had stopped with it.
    pub end_us: Option<u64>,
    /// Its client left.
    pub aborted: bool,
}

impl Seen {
    /// The value of the first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// How the engine came to stop with a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Finished,
    Left,
    Failed,
}

/// Which entry of `requests` a piece of work is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry(u64);

#[derive(Debug, Default)]
struct Books {
    stats: Stats,
    /// Of all bodies in `stats.requests`.
    body_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Record {
    books: Mutex<Books>,
    changed: Notify,
    changed_blocking: Condvar,
    requests_kept: usize,
}

impl Record {
    pub fn new(requests_kept: u32) -> Self {
        now_us();
        Record {
            books: Mutex::default(),
            changed: Notify::new(),
            changed_blocking: Condvar::new(),
            requests_kept: requests_kept as usize,
        }
    }

    pub fn stats(&self) -> Stats {
        self.look(Stats::clone)
    }

    /// Reads the books under their lock.
    pub fn look<T>(&self, read: impl FnOnce(&Stats) -> T) -> T {
        read(&self.lock().stats)
    }

    /// Adds a request for work; it counts as refused until [`Record::accept`].
    pub fn arrive(&self, seen: Seen) -> Entry {
        self.edit(|Books { stats, body_bytes }| {
            stats.refused += 1;
            *body_bytes += seen.body.len();
            let entry = Entry(stats.dropped + stats.requests.len() as u64);
            stats.requests.push_back(seen);
            while stats.requests.len() > self.requests_kept || *body_bytes > BODY_BYTES_KEPT {
                let gone = stats.requests.pop_front().expect("it is not empty: it exceeds a bound");
                *body_bytes -= gone.body.len();
                stats.dropped += 1;
            }
            entry
        })
    }

    pub fn other(&self, seen: Seen) {
        self.change(|stats| {
            stats.others.push_back(seen);
            if stats.others.len() > OTHERS_KEPT {
                stats.others.pop_front();
            }
        });
    }

    /// Takes work in, unless the limit is reached.
    pub fn accept(&self, limit: u32) -> bool {
        self.change(|stats| {
            if stats.running >= limit {
                return false;
            }
            stats.refused -= 1;
            stats.accepted += 1;
            stats.running += 1;
            stats.peak = stats.peak.max(stats.running);
            true
        })
    }

    pub fn left(&self, entry: Entry) {
        self.change(|stats| {
            stats.aborted += 1;
            if let Some(seen) = at(stats, entry) {
                seen.aborted = true;
            }
        });
    }

    pub fn stop(&self, entry: Entry, outcome: Outcome, output_tokens: u32) {
        self.change(|stats| {
            stats.running -= 1;
            match outcome {
                Outcome::Finished => stats.finished += 1,
                Outcome::Failed => stats.failed += 1,
                Outcome::Left => {}
            }
            stats.output_tokens += u64::from(output_tokens);
            if let Some(seen) = at(stats, entry) {
                seen.end_us = Some(now_us());
            }
        });
    }

    pub fn read(&self, entry: Entry, fresh: u32, cached: u32) {
        self.change(|stats| {
            stats.prompt_tokens += u64::from(fresh);
            stats.cached_tokens += u64::from(cached);
            if let Some(seen) = at(stats, entry) {
                (seen.prompt_tokens, seen.cached_tokens) = (fresh, cached);
            }
        });
    }

    pub fn loaded(&self) {
        self.change(|stats| stats.loads += 1);
    }

    pub fn evicted(&self, models: u64, killed: u64) {
        self.change(|stats| {
            stats.evictions += models;
            stats.killed += killed;
        });
    }

    pub fn busy(&self, more: bool) {
        self.change(|stats| stats.busy = if more { stats.busy + 1 } else { stats.busy - 1 });
    }

    pub fn listening(&self, open: bool) {
        self.change(|stats| stats.listening = open);
    }

    pub fn connection(&self, open: bool) {
        self.change(|stats| {
            if open {
                stats.connections += 1;
                stats.connected += 1;
            } else {
                stats.connections -= 1;
            }
        });
    }

    pub async fn wait(&self, what: impl Fn(&Stats) -> bool, deadline: Duration) -> bool {
        let seen = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.look(&what) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(deadline, seen).await.is_ok()
    }

    pub fn wait_blocking(&self, what: impl Fn(&Stats) -> bool, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut books = self.lock();
        while !what(&books.stats) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            books = self.changed_blocking.wait_timeout(books, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Stats) -> T) -> T {
        self.edit(|books| edit(&mut books.stats))
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Books) -> T) -> T {
        let result = edit(&mut self.lock());
        self.changed.notify_waiters();
        self.changed_blocking.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at(stats: &mut Stats, entry: Entry) -> Option<&mut Seen> {
    let index = entry.0.checked_sub(stats.dropped)?;
    stats.requests.get_mut(index as usize)
}
