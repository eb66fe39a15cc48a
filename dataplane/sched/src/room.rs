//! One backend as the core sees it: its slots, what runs in them, its breaker.

use std::collections::{BTreeMap, BTreeSet};

use crate::breaker::Switch;
use crate::memory::Memory;
use crate::pace::Pace;
use crate::{Backend, Health, ModelId, Moment, Policy, SLOTS_MAX, SlotId, Span, TicketId};

/// A new time to the first token weighs so much.
const FIRST_TOKEN_WEIGHT: f64 = 0.2;

/// What a server told of its load counts for so long.
pub const TOLD_AGE_MAX: Span = Span::from_secs(15);

/// One backend's slots. It outlives the backend's place in the fleet until the last slot is back.
pub(crate) struct Room {
    pub(crate) backend: Backend,
    pub(crate) present: bool,
    /// How many slots take part.
    slots: u32,
    pub(crate) busy: u32,
    pub(crate) streaming: u32,
    pub(crate) switch: Switch,
    pub(crate) pace: Pace,
    /// The last that was known of its health is that it is down.
    down: bool,
    /// Where it stands in `Slots::rests`.
    pub(crate) alarm: Option<Moment>,
    pub(crate) cooling: BTreeMap<SlotId, Moment>,
    /// Slots that were given back, at most as many as were ever taken at once.
    back: BTreeSet<SlotId>,
    /// The first slot that was never taken; all from here on are free.
    fresh: u32,
    /// When it was last started on, counted in starts.
    pub(crate) turn: u64,
    /// Seconds to the first token, as a moving average; zero until one came.
    pub(crate) first_token: f64,
    /// The most slots that were in use here since the server last told of its load, and in the time before that.
    peaks: [u32; 2],
    /// How many requests of others it had then, and when.
    others: (u32, Moment),
    /// What runs here.
    pub(crate) runs: Vec<TicketId>,
    pub(crate) memory: Memory,
}

impl Room {
    pub(crate) fn new(backend: Backend) -> Room {
        Room {
            slots: backend.slots.min(SLOTS_MAX),
            backend,
            present: false,
            busy: 0,
            streaming: 0,
            switch: Switch::new(),
            pace: Pace::default(),
            down: false,
            alarm: None,
            cooling: BTreeMap::new(),
            back: BTreeSet::new(),
            fresh: 0,
            turn: 0,
            first_token: 0.0,
            peaks: [0; 2],
            others: (0, Moment::default()),
            runs: Vec::new(),
            memory: Memory::default(),
        }
    }

    /// How many slots take part.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// How many the server has.
    pub(crate) fn lanes(&self) -> u32 {
        self.backend.slots.min(SLOTS_MAX)
    }

    /// So many slots take part; `None`: as many as the server has.
    pub(crate) fn limit(&mut self, slots: Option<u32>) {
        self.slots = slots.map_or(self.lanes(), |slots| slots.min(SLOTS_MAX));
    }

    pub(crate) fn cooling(&self) -> u32 {
        self.cooling.len() as u32
    }

    pub(crate) fn empty(&self) -> bool {
        self.busy == 0 && self.cooling.is_empty()
    }

    /// How many requests may start on it now.
    #[inline(always)]
    pub(crate) fn free(&self) -> u32 {
        match self.present && self.backend.up() {
            true => self.switch.admits(self.vacant()),
            false => 0,
        }
    }

    /// Whether requests may start on it, now or when a slot is free.
    pub(crate) fn able(&self) -> bool {
        self.backend.up() && !self.switch.rests()
    }

    /// The same, where nothing has to be found out first: while a trial runs, others need not wait for its end.
    pub(crate) fn sure(&self) -> bool {
        self.backend.up() && self.switch.admits(1) > 0
    }

    /// Whether `model` is not in its memory.
    pub(crate) fn loads(&self, model: ModelId) -> bool {
        self.backend.models_max.is_some() && self.memory.lacks(model)
    }

    /// Whether a request for `model` may start on it now: loading it must end no generation, and come in its turn.
    #[inline(always)]
    pub(crate) fn takes(&self, model: ModelId, policy: Policy) -> bool {
        self.free() > 0 && self.holds(model, policy)
    }

    /// The same, whether a slot is free or not.
    #[inline(always)]
    pub(crate) fn holds(&self, model: ModelId, policy: Policy) -> bool {
        let yields = policy == Policy::CacheAffine;
        let most = self.backend.models_max;
        most.is_none_or(|most| self.memory.takes(model, most as usize, yields))
    }

    /// The server had so many requests then. Of which ours are is not known to the moment, so only what is more than ours
    /// ever were since the report before the last is others'.
    pub(crate) fn told(&mut self, requests: u32, at: Moment) {
        self.others = (requests.saturating_sub(self.peaks[0].max(self.peaks[1])), at);
        self.peaks = [self.busy + self.cooling(), self.peaks[0]];
    }

    /// Requests of others that the server has, as far as it told lately.
    pub(crate) fn others(&self, now: Moment) -> u32 {
        let (others, at) = self.others;
        if now.since(at) <= TOLD_AGE_MAX { others } else { 0 }
    }

    /// How many slots nobody holds.
    pub(crate) fn vacant(&self) -> u32 {
        self.slots().saturating_sub(self.busy + self.cooling())
    }

    /// A first token took so many seconds.
    pub(crate) fn waited(&mut self, secs: f64) {
        let known = self.first_token;
        self.first_token =
            if known == 0.0 { secs.max(1e-6) } else { known + (secs - known) * FIRST_TOKEN_WEIGHT };
    }

    /// Takes in what probes say now, which may be what they said before.
    pub(crate) fn hear(&mut self, health: Health) {
        match health {
            Health::Healthy if self.down => self.switch.vouch(),
            Health::Unknown if self.backend.health == Health::Unhealthy => self.switch.doubt(),
            Health::Healthy | Health::Unhealthy | Health::Unknown => {}
        }
        self.down = match health {
            Health::Healthy => false,
            Health::Unhealthy => true,
            Health::Unknown => self.down,
        };
    }

    /// The lowest free slot: with one free below the limit, it lies below the limit too.
    pub(crate) fn take(&mut self) -> SlotId {
        self.busy += 1;
        self.peaks[0] = self.peaks[0].max(self.busy + self.cooling());
        self.back.pop_first().unwrap_or_else(|| {
            self.fresh += 1;
            SlotId(self.fresh - 1)
        })
    }

    pub(crate) fn give(&mut self, slot: SlotId) {
        self.memory.give(slot);
        self.back.insert(slot);
    }
}
