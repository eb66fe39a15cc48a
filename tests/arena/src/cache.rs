//! What servers keep of the prompts they have read: the truth, and what a router's copy of it can be built from.
//!
//! Content is a sequence of segments; an equal segment at an equal place is equal content. A cache has as many seats
//! as its server has slots, and one of two stores behind them: a list of whole sequences in host memory, or a pool of
//! blocks that all seats share.

mod foresee;
mod pool;
mod saved;

use std::sync::Arc;

pub use foresee::Loss;
use pool::Pool;
use saved::Saved;

/// A piece of a prompt: what it is, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Equal numbers are equal content.
    pub id: u64,
    /// Its length.
    pub tokens: u32,
}

/// A prompt, or a prompt with its answer.
pub type Sequence = Arc<[Segment]>;

/// How a server keeps what it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One sequence a slot, and a list of older sequences in host memory (llama.cpp, Ollama, LM Studio).
    Slots {
        /// What the list holds, in tokens; zero when there is none.
        ram: u64,
    },
    /// One pool of blocks for all slots, the least recently used leaf goes first (vLLM, SGLang).
    Pool {
        /// What it holds, in tokens.
        capacity: u64,
    },
}

/// A token block of a pool: a match is rounded down to a multiple of it.
const POOL_BLOCK: u64 = 16;
/// A slot that has less of the prompt in common than this gives way to the least recently used one
/// (`--slot-prompt-similarity` of llama.cpp).
const SIMILAR_MIN: f64 = 0.1;
/// A slot that keeps less than this of its content saves it to host memory first (llama.cpp).
const KEPT_MIN: f64 = 0.5;
/// Long before any run begins.
const LONG_AGO: f64 = -1e9;

/// Tokens of a sequence.
#[must_use]
pub fn tokens(sequence: &[Segment]) -> u64 {
    sequence.iter().map(|segment| u64::from(segment.tokens)).sum()
}

/// Tokens that both begin with.
#[must_use]
pub fn shared(a: &[Segment], b: &[Segment]) -> u64 {
    let equal = a.iter().zip(b).take_while(|(a, b)| a == b);
    equal.map(|(segment, _)| u64::from(segment.tokens)).sum()
}

/// One seat of a cache.
#[derive(Clone, Debug)]
pub struct Seat {
    /// What it holds; in a pool only while it is busy.
    pub content: Sequence,
    /// Whether a request runs there.
    pub busy: bool,
    /// When it was used last.
    pub last: f64,
}

/// What a request would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The seat it would get.
    pub seat: usize,
    /// Tokens of its prompt that are there.
    pub cached: u64,
    /// How many of the shared tokens come back from host memory; zero when the seat has as many.
    pub restored: u64,
}

#[derive(Clone, Debug)]
enum Store {
    Saved(Saved),
    Pool(Pool),
}

/// The cache of one server.
#[derive(Clone, Debug)]
pub struct Cache {
    seats: Vec<Seat>,
    store: Store,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(shape: Shape, seats: usize) -> Self {
        let seat = Seat { content: Arc::new([]), busy: false, last: LONG_AGO };
        let store = match shape {
            Shape::Slots { ram } => Store::Saved(Saved::new(ram)),
            Shape::Pool { capacity } => Store::Pool(Pool::new(capacity)),
        };
        Cache { seats: vec![seat; seats], store }
    }

    /// The seats, by number.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Whether all seats share one pool.
    #[must_use]
    pub fn pooled(&self) -> bool {
        matches!(self.store, Store::Pool(_))
    }

    /// What a request that started now would find; `None` while all seats are busy.
    #[must_use]
    pub fn peek(&self, prompt: &[Segment]) -> Option<Hit> {
        match &self.store {
            Store::Saved(saved) => {
                let (seat, kept) = self.seat_for(prompt)?;
                let restored =
                    saved.best(prompt).filter(|(_, found)| *found > kept).map_or(0, |(_, found)| found);
                Some(Hit { seat, cached: kept.max(restored), restored })
            }
            Store::Pool(_) => {
                let seat = self.seats.iter().position(|seat| !seat.busy)?;
                Some(Hit { seat, cached: self.pool_match(prompt), restored: 0 })
            }
        }
    }

    /// What of a prompt a pool has, whether a seat is free or not; zero when there is no pool.
    #[must_use]
    pub fn pool_match(&self, prompt: &[Segment]) -> u64 {
        match &self.store {
            Store::Pool(pool) => pool.longest(prompt) / POOL_BLOCK * POOL_BLOCK,
            Store::Saved(_) => 0,
        }
    }

    /// A request takes a seat; `None`, and nothing changes, while all are busy.
    pub fn start(&mut self, prompt: &Sequence, now: f64) -> Option<Hit> {
        let hit = self.peek(prompt)?;
        let seat = &mut self.seats[hit.seat];
        match &mut self.store {
            Store::Saved(saved) => {
                let held = tokens(&seat.content);
                if held > 0 && (shared(&seat.content, prompt) as f64) < KEPT_MIN * held as f64 {
                    saved.push(Arc::clone(&seat.content), seat.last);
                }
                if hit.restored > 0 {
                    saved.take(prompt);
                }
                seat.last = now;
            }
            Store::Pool(pool) => pool.pin(prompt, now),
        }
        seat.content = Arc::clone(prompt);
        seat.busy = true;
        Some(hit)
    }

    /// The request of a seat ends; `whole` is its prompt with the answer.
    pub fn finish(&mut self, seat: usize, whole: &Sequence, now: f64) {
        let seat = &mut self.seats[seat];
        seat.busy = false;
        seat.last = now;
        let prompt = std::mem::replace(&mut seat.content, Arc::clone(whole));
        if let Store::Pool(pool) = &mut self.store {
            seat.content = Arc::new([]);
            pool.unpin(&prompt);
            pool.insert(whole, now);
        }
    }

    /// Forgets everything, what busy seats read for their own requests too: the model was unloaded.
    pub fn clear(&mut self) {
        for seat in &mut self.seats {
            seat.content = Arc::new([]);
        }
        self.empty_store();
    }

    /// Forgets everything but what running requests use.
    pub fn lose(&mut self) {
        for seat in self.seats.iter_mut().filter(|seat| !seat.busy) {
            seat.content = Arc::new([]);
        }
        self.empty_store();
    }

    fn empty_store(&mut self) {
        match &mut self.store {
            Store::Saved(saved) => saved.clear(),
            Store::Pool(pool) => pool.clear(),
        }
    }

    /// llama.cpp's choice: the idle slot with the most in common, unless that is next to nothing; else the least
    /// recently used one. With it what of the prompt the slot has.
    fn seat_for(&self, prompt: &[Segment]) -> Option<(usize, u64)> {
        let idle = || self.seats.iter().enumerate().filter(|(_, seat)| !seat.busy);
        let mut best = None;
        for (index, seat) in idle() {
            let kept = shared(&seat.content, prompt);
            if kept > best.map_or(0, |(_, kept)| kept) {
                best = Some((index, kept));
            }
        }
        let length = tokens(prompt).max(1) as f64;
        best.filter(|(_, kept)| *kept as f64 / length > SIMILAR_MIN).or_else(|| {
            let (oldest, seat) = idle().min_by(|(_, a), (_, b)| a.last.total_cmp(&b.last))?;
            Some((oldest, shared(&seat.content, prompt)))
        })
    }
}
