//! Whole sequences in host memory, the oldest saved goes first (`--cache-ram` of llama.cpp).

use super::{Segment, Sequence, shared, tokens};

#[derive(Clone, Debug)]
pub(super) struct Saved {
    capacity: u64,
    used: u64,
    /// In the order of saving, with the time of their last use.
    sequences: Vec<(Sequence, f64)>,
}

impl Saved {
    pub(super) fn new(capacity: u64) -> Self {
        Saved { capacity, used: 0, sequences: Vec::new() }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn sequences(&self) -> &[(Sequence, f64)] {
        &self.sequences
    }

    /// The first of those with most in common with the prompt, and how much that is.
    pub(super) fn best(&self, prompt: &[Segment]) -> Option<(usize, u64)> {
        let mut best: Option<(usize, u64)> = None;
        for (index, (sequence, _)) in self.sequences.iter().enumerate() {
            let found = shared(sequence, prompt);
            if found > best.map_or(0, |(_, found)| found) {
                best = Some((index, found));
            }
        }
        best
    }

    pub(super) fn push(&mut self, sequence: Sequence, last: f64) {
        if self.capacity == 0 {
            return;
        }
        self.used += tokens(&sequence);
        self.sequences.push((sequence, last));
        while self.used > self.capacity && self.sequences.len() > 1 {
            self.remove(0);
        }
        if self.used > self.capacity {
            self.clear();
        }
    }

    /// The best match goes back into a slot.
    pub(super) fn take(&mut self, prompt: &[Segment]) {
        if let Some((index, _)) = self.best(prompt) {
            self.remove(index);
        }
    }

    pub(super) fn clear(&mut self) {
        self.sequences.clear();
        self.used = 0;
    }

    fn remove(&mut self, index: usize) {
        let (sequence, _) = self.sequences.remove(index);
        self.used -= tokens(&sequence);
    }
}
