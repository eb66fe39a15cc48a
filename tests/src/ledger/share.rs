//! What keys had of the slots while they waited for more, by weight.

use std::collections::{BTreeMap, BTreeSet};

use sched::{Key, Moment};

use super::{Held, Ledger};

/// What the first of a kind is thought to take, besides its prompt at the slowest speed that is thought of, in seconds.
const ANSWER_GUESS: f64 = 250.0 / 30.0;
const PREFILL_TPS: f64 = 1000.0;

/// Slot time in seconds by weight.
#[derive(Debug, Default)]
pub struct Shares {
    had: BTreeMap<Key, f64>,
    /// Of two who have both been waiting without a pause: by how much the first was ahead when that began, and is now.
    stretches: BTreeMap<(Key, Key), (f64, f64)>,
    longest: f64,
    slots: usize,
}

impl Shares {
    pub(super) fn start(&mut self, held: &Held) {
        let thought = f64::from(held.wait.arrival.prompt_tokens) / PREFILL_TPS + ANSWER_GUESS;
        self.longest = self.longest.max(thought);
    }

    pub(super) fn end(&mut self, held: &Held, now: Moment) {
        let secs = now.since(held.since).secs();
        self.longest = self.longest.max(secs);
        *self.had.entry(held.wait.arrival.key).or_default() += secs / weight(held);
    }

    /// Two who have both been waiting without a pause, and what the first gained on the other in that time.
    pub fn gained(&self) -> impl Iterator<Item = ((Key, Key), f64)> {
        self.stretches.iter().map(|(keys, (before, now))| (*keys, now - before))
    }

    /// The longest that a slot was held, or thought to be.
    pub fn longest(&self) -> f64 {
        self.longest
    }

    /// The most slots that there were.
    pub fn slots(&self) -> usize {
        self.slots
    }
}

impl Ledger {
    /// Looks at all keys, after all decisions.
    pub(super) fn judge_shares(&mut self) {
        let slots = self.fleet.backends.values().map(|backend| backend.slots as usize).sum();
        let mut had = self.shares.had.clone();
        for held in self.running.values() {
            *had.entry(held.wait.arrival.key).or_default() +=
                self.now.since(held.since).secs() / weight(held);
        }
        let waits: BTreeSet<Key> = self.waiting.values().map(|wait| wait.arrival.key).collect();
        let ahead = |one: Key, other: Key| {
            let of = |key| had.get(&key).copied().unwrap_or_default();
            of(one) - of(other)
        };
        let before = std::mem::take(&mut self.shares.stretches);
        let pairs = waits.iter().flat_map(|one| waits.range(..*one).map(|other| (*one, *other)));
        let stretch = |(one, other): (Key, Key)| {
            let now = ahead(one, other);
            let began = before.get(&(one, other)).map_or(now, |(began, _)| *began);
            ((one, other), (began, now))
        };
        self.shares.stretches = pairs.map(stretch).collect();
        self.shares.slots = self.shares.slots.max(slots);
    }
}

fn weight(held: &Held) -> f64 {
    f64::from(held.wait.arrival.weight.max(1))
}
