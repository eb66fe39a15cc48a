//! What a cache would forget, asked before it happens.

use super::{Cache, Hit, Segment, Store, shared, tokens};

/// Leaves of a pool that are looked at.
const LEAVES_MAX: usize = 24;

/// Something that a start would make a server forget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// How much.
    pub tokens: u64,
    /// For how long nobody used it, in seconds.
    pub idle: f64,
}

impl Cache {
    /// What starting a prompt now with an answer of about so many tokens would displace.
    #[must_use]
    pub fn displaced(&self, prompt: &[Segment], output: u64, hit: &Hit, now: f64) -> Vec<Loss> {
        let mut losses = Vec::new();
        match &self.store {
            Store::Pool(pool) => {
                let length = tokens(prompt);
                let need = length + output - hit.cached.min(length);
                if let Some(missing) = need.checked_sub(pool.room()).filter(|missing| *missing > 0) {
                    let lose = |tokens, idle| losses.push(Loss { tokens, idle });
                    pool.first_to_go(missing, LEAVES_MAX, now, lose);
                }
            }
            Store::Saved(_) => {
                if let Some(seat) = self.seats.get(hit.seat) {
                    return self.displaced_from(&seat.content, now - seat.last, prompt, hit.restored, now);
                }
            }
        }
        losses
    }

    /// The same for a slot that will hold `content`, unused for `idle` seconds, when the prompt starts there.
    #[must_use]
    pub fn displaced_from(
        &self,
        content: &[Segment],
        idle: f64,
        prompt: &[Segment],
        restored: u64,
        now: f64,
    ) -> Vec<Loss> {
        let Store::Saved(saved) = &self.store else { return Vec::new() };
        let (length, kept) = (tokens(content), shared(content, prompt));
        if length == kept {
            return Vec::new();
        }
        if saved.capacity() == 0 {
            return vec![Loss { tokens: length - kept, idle }];
        }
        if kept * 2 >= length {
            return Vec::new();
        }
        if length > saved.capacity() {
            return vec![Loss { tokens: length, idle }];
        }
        let mut over = (saved.used().saturating_sub(restored) + length).saturating_sub(saved.capacity());
        let mut losses = Vec::new();
        for (sequence, last) in saved.sequences() {
            if over == 0 {
                break;
            }
            let tokens = tokens(sequence);
            losses.push(Loss { tokens, idle: now - last });
            over = over.saturating_sub(tokens);
        }
        losses
    }

    /// The most of a prompt that host memory or an idle slot has.
    #[must_use]
    pub fn best_at_rest(&self, prompt: &[Segment]) -> u64 {
        let idle = self.seats.iter().filter(|seat| !seat.busy);
        let idle = idle.map(|seat| shared(&seat.content, prompt)).max().unwrap_or(0);
        match &self.store {
            Store::Saved(saved) => saved.best(prompt).map_or(0, |(_, found)| found).max(idle),
            Store::Pool(_) => idle,
        }
    }

    /// What the list in host memory holds, in tokens; zero where there is none.
    #[must_use]
    pub fn ram(&self) -> u64 {
        match &self.store {
            Store::Saved(saved) => saved.capacity(),
            Store::Pool(_) => 0,
        }
    }

    /// How much a pool took in since the known part of a prompt was used, as a share of its capacity: near 1 it is
    /// the next to go. Zero where there is no pool.
    #[must_use]
    pub fn distance(&self, prompt: &[Segment]) -> f64 {
        match &self.store {
            Store::Pool(pool) => pool.distance(prompt),
            Store::Saved(_) => 0.0,
        }
    }

    /// A pool turns out to hold so much more, or less.
    pub fn scale(&mut self, factor: f64, bounds: (u64, u64)) {
        if let Store::Pool(pool) = &mut self.store {
            pool.scale(factor, bounds);
        }
    }

    /// Takes a sequence into a pool without a seat.
    pub fn insert(&mut self, sequence: &[Segment], now: f64) {
        if let Store::Pool(pool) = &mut self.store {
            pool.insert(sequence, now);
        }
    }
}
