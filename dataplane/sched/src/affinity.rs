//! What the servers' prompt caches are thought to hold: a mirror for each model on each backend, in the shape of its
//! kind, corrected by what answers say.
//!
//! Hashes are chained, so two prompts are compared by halving; nothing grows with the number of blocks but memory.

use crate::chain::{Chain, Sequence};
use crate::digest::{Found, HEARD};
use crate::returns::End;
use crate::sorted::Sorted;
use crate::{BackendId, ModelId, Moment, Span, TicketId};

mod ages;
mod lanes;
mod pool;
mod size;
mod table;

pub(crate) use lanes::Lanes;
pub(crate) use pool::Pool;
pub(crate) use size::Reach;
pub(crate) use table::Table;

/// Blocks that all mirrors together remember, at most but for what requests use; what was not used for longest in some
/// mirror goes first.
pub const RECORDS_MAX: usize = 1 << 20;
/// More or less cached than was thought says something from this many tokens on, and from this part of the prompt on.
const SURPRISE_TOKENS: u32 = 1024;
const SURPRISE_PART: u32 = 8;
/// How a server keeps prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// One sequence a slot, and whole sequences in host memory for so many tokens (llama.cpp, Ollama, LM Studio).
    Slots {
        /// Zero where there is none.
        ram: u32,
    },
    /// One pool of so many tokens that all slots share (vLLM, SGLang, hosted providers).
    Pool {
        /// As told by the server, or a guess; corrected by what answers say.
        tokens: u32,
    },
}

impl Default for Cache {
    fn default() -> Self {
        Cache::Slots { ram: 0 }
    }
}

/// Where a prompt would start and what is there of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Warm {
    /// The slot of the server.
    pub(crate) lane: usize,
    /// Tokens.
    pub(crate) cached: u32,
    /// Tokens that come from host memory; zero where the slot has more.
    pub(crate) saved: u32,
    /// Tokens that are in the slot itself.
    pub(crate) here: u32,
    /// Blocks that are in the slot itself, or in the pool.
    pub(crate) blocks: usize,
    /// Where the last of them is in a pool.
    pub(crate) deepest: Option<u32>,
}

/// What a start would make a server forget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lost {
    pub(crate) tokens: u32,
    pub(crate) age: Span,
}

/// What a start displaced, for one that turns out not to have reached the server.
pub(crate) type Before = Option<Sequence>;

/// One model's cache on one backend.
#[derive(Debug)]
pub(crate) enum Mirror {
    Lanes(Lanes),
    Pool(Pool),
}

impl Mirror {
    fn new(cache: Cache) -> Self {
        match cache {
            Cache::Slots { .. } => Mirror::Lanes(Lanes::default()),
            Cache::Pool { tokens } => Mirror::Pool(Pool::new(tokens)),
        }
    }

    /// Takes on the shape that the server has now; the answer is whether anything changed.
    fn adapt(&mut self, cache: Cache, slots: u32) -> bool {
        match (self, cache) {
            (Mirror::Lanes(lanes), Cache::Slots { ram }) => lanes.resize(slots as usize, ram),
            (Mirror::Pool(pool), Cache::Pool { tokens }) => pool.tell(tokens),
            (mirror, _) => {
                *mirror = Mirror::new(cache);
                mirror.adapt(cache, slots);
                true
            }
        }
    }

    /// What would be cached if `prompt`, `total` tokens long, started now; `None` when every slot is in use.
    pub(crate) fn peek(&self, prompt: &Chain, total: u32) -> Option<Warm> {
        match self {
            Mirror::Lanes(lanes) => lanes.peek(prompt, total),
            Mirror::Pool(pool) => Some(pool.peek(prompt)),
        }
    }

    fn records(&self) -> usize {
        match self {
            Mirror::Lanes(lanes) => lanes.records(),
            Mirror::Pool(pool) => pool.records(),
        }
    }

    fn clear(&mut self) {
        match self {
            Mirror::Lanes(lanes) => lanes.clear(),
            Mirror::Pool(pool) => pool.clear(),
        }
    }

    fn forget_oldest(&mut self) -> bool {
        match self {
            Mirror::Lanes(lanes) => lanes.forget_oldest(),
            Mirror::Pool(pool) => pool.forget_oldest(),
        }
    }
}

/// So many tokens more or less than was thought say something of a prompt of `total`.
pub(crate) fn surprise(total: u32) -> u32 {
    SURPRISE_TOKENS.max(total / SURPRISE_PART)
}

/// All mirrors.
#[derive(Debug, Default)]
pub(crate) struct Affinity {
    mirrors: Sorted<(BackendId, ModelId), Mirror>,
    records: usize,
}

impl Affinity {
    pub(crate) fn mirror(&self, place: (BackendId, ModelId)) -> Option<&Mirror> {
        self.mirrors.get(place)
    }

    /// Blocks that all mirrors together remember.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// A request starts whose prompt is `total` long; `warm` is what `peek` found just before, if it was asked. The answer is
    /// how much is thought to be cached, and what it displaced.
    pub(crate) fn start(
        &mut self,
        place: (BackendId, ModelId),
        (cache, slots): (Cache, u32),
        (ticket, prompt, total): (TicketId, &Chain, u32),
        warm: Option<Warm>,
        now: Moment,
    ) -> (u32, Reach, Before) {
        // a prompt that is not compared takes a slot of its server, but leaves no trace in a pool
        if prompt.len() == 0 && !matches!(self.mirrors.get(place), Some(Mirror::Lanes(_))) {
            return (0, Reach::default(), None);
        }
        let mirror = self.mirrors.get_or_insert_with(place, || Mirror::new(cache));
        self.records -= mirror.records();
        let changed = mirror.adapt(cache, slots);
        let warm = match warm {
            Some(_) if !changed => warm,
            _ => mirror.peek(prompt, total),
        };
        debug_assert_eq!(warm, mirror.peek(prompt, total), "what was found just before is no longer so");
        let started = match (&mut *mirror, warm) {
            (_, None) => (0, Reach::default(), None),
            (Mirror::Lanes(lanes), Some(warm)) => {
                (warm.cached, Reach::default(), lanes.start(ticket, prompt.clone(), warm, now))
            }
            (Mirror::Pool(pool), Some(warm)) => {
                (warm.cached, pool.start(ticket, prompt.clone(), warm, now), None)
            }
        };
        self.records += mirror.records();
        self.shrink();
        started
    }

    /// A request ended, with so many tokens answered.
    pub(crate) fn finish(
        &mut self,
        place: (BackendId, ModelId),
        ticket: TicketId,
        answer: u32,
        end: End,
        now: Moment,
    ) {
        self.change(place, |mirror| match mirror {
            Mirror::Lanes(lanes) => lanes.finish(ticket, answer, end, now),
            Mirror::Pool(pool) => pool.finish(ticket, Some(answer), now),
        });
    }

    /// A request never reached the server.
    pub(crate) fn undo(
        &mut self,
        place: (BackendId, ModelId),
        ticket: TicketId,
        before: Before,
        now: Moment,
    ) {
        self.change(place, |mirror| match mirror {
            Mirror::Lanes(lanes) => lanes.undo(ticket, before.unwrap_or_default()),
            Mirror::Pool(pool) => pool.finish(ticket, None, now),
        });
    }

    /// A server said how much of a prompt of `total` tokens that started at `since` was cached where `thought` was
    /// expected, as far back as it was at the start. What it lost is not forgotten here: what is sent there builds it up again.
    pub(crate) fn learn(
        &mut self,
        place: (BackendId, ModelId),
        total: u32,
        told: (u32, u32),
        reach: Reach,
        since: Moment,
    ) {
        self.change(place, |mirror| {
            let Mirror::Pool(pool) = mirror else { return };
            pool.learn(total, told, reach, since);
        });
    }

    /// A place has the beginning of a prompt that came now, of which a digest told.
    pub(crate) fn recollect(
        &mut self,
        prompt: &Chain,
        found: &Found,
        (cache, lanes): (Cache, u32),
        now: Moment,
    ) {
        let mirror = self.mirrors.get_or_insert_with(found.place, || Mirror::new(cache));
        self.records -= mirror.records();
        mirror.adapt(cache, lanes);
        match (&mut *mirror, found.answer) {
            (Mirror::Pool(pool), answer) => {
                let warm = pool.peek(prompt);
                if warm.blocks < found.blocks {
                    let prompt = prompt.beginning(found.blocks);
                    let warm = Warm { cached: prompt.tokens_of(warm.blocks), ..warm };
                    pool.start(HEARD, prompt, warm, now);
                    pool.finish(HEARD, Some(answer.map_or(0, |(answer, ..)| answer)), now);
                }
            }
            (Mirror::Lanes(lanes), Some((answer, end, at))) => {
                let held = Sequence { prompt: prompt.beginning(found.blocks), answer };
                lanes.recollect(held, end, at);
            }
            // of what else is in that slot nothing is known
            (Mirror::Lanes(_), None) => {}
        }
        self.records += mirror.records();
        self.shrink();
    }

    /// The model was unloaded there.
    pub(crate) fn unload(&mut self, place: (BackendId, ModelId)) {
        self.change(place, Mirror::clear);
    }

    /// The backend is gone.
    pub(crate) fn forget(&mut self, backend: BackendId) {
        self.mirrors.retain(|(known, _)| known != backend);
        self.records = self.mirrors.iter().map(|(_, mirror)| mirror.records()).sum();
    }

    fn change(&mut self, place: (BackendId, ModelId), change: impl FnOnce(&mut Mirror)) {
        let Some(mirror) = self.mirrors.get_mut(place) else { return };
        self.records -= mirror.records();
        change(mirror);
        self.records += mirror.records();
    }

    /// Makes room by taking from each mirror in turn.
    fn shrink(&mut self) {
        let mut left = true;
        while self.records > RECORDS_MAX && left {
            left = false;
            for (_, mirror) in self.mirrors.iter_mut() {
                let before = mirror.records();
                left |= mirror.forget_oldest();
                self.records -= before - mirror.records();
            }
        }
    }
}
