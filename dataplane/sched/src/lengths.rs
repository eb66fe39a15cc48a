//! How long answers are: of each key, and of all.

use std::collections::{BTreeMap, VecDeque};

use crate::Key;

/// Answers of a key that are remembered, and of all.
const OF_KEY_MAX: usize = 64;
const OF_ALL_MAX: usize = 512;
/// With fewer of its own, a key is taken for one like all.
const OF_KEY_MIN: usize = 16;
/// Before any answer, in tokens.
const GUESS: f64 = 250.0;
/// Longer answers than it has come to so far, with which one says how long it will be.
const LONGER_MIN: usize = 3;
/// Keys that are remembered; at one more, the one that answered least goes.
const KEYS_MAX: usize = 4096;

#[derive(Debug)]
struct Lengths {
    max: usize,
    ring: VecDeque<u32>,
    sorted: Vec<u32>,
    /// The sum of all from each place in `sorted` to its end.
    sums: Vec<u64>,
}

impl Lengths {
    fn new(max: usize) -> Self {
        Lengths { max, ring: VecDeque::new(), sorted: Vec::new(), sums: Vec::new() }
    }

    fn add(&mut self, length: u32) {
        if self.ring.len() == self.max
            && let Some(oldest) = self.ring.pop_front()
        {
            self.sorted.remove(self.sorted.partition_point(|known| *known < oldest));
        }
        self.ring.push_back(length);
        self.sorted.insert(self.sorted.partition_point(|known| *known < length), length);
        self.sums.clear();
        let mut sum = 0;
        self.sums.extend(self.sorted.iter().rev().map(|length| {
            sum += u64::from(*length);
            sum
        }));
        self.sums.reverse();
    }

    fn mean(&self) -> Option<f64> {
        self.sums.first().map(|sum| *sum as f64 / self.sorted.len() as f64)
    }

    /// How much longer those became that were longer than this.
    fn rest(&self, so_far: f64) -> Option<f64> {
        let from = self.sorted.partition_point(|known| f64::from(*known) <= so_far);
        let longer = self.sorted.len() - from;
        (longer >= LONGER_MIN).then(|| self.sums[from] as f64 / longer as f64 - so_far)
    }
}

/// What is known of the length of answers.
#[derive(Debug)]
pub(crate) struct Answers {
    keys: BTreeMap<Key, Lengths>,
    all: Lengths,
}

impl Default for Answers {
    fn default() -> Self {
        Answers { keys: BTreeMap::new(), all: Lengths::new(OF_ALL_MAX) }
    }
}

impl Answers {
    pub(crate) fn add(&mut self, key: Key, tokens: u32) {
        if self.keys.len() >= KEYS_MAX && !self.keys.contains_key(&key) {
            let least = self.keys.iter().min_by_key(|(_, lengths)| lengths.ring.len());
            if let Some(least) = least.map(|(key, _)| *key) {
                self.keys.remove(&least);
            }
        }
        self.keys.entry(key).or_insert_with(|| Lengths::new(OF_KEY_MAX)).add(tokens);
        self.all.add(tokens);
    }

    /// How long the next one will be, in tokens.
    pub(crate) fn expected(&self, key: Key) -> f64 {
        self.of(key).mean().unwrap_or(GUESS)
    }

    /// How many tokens are still to come of one that has come to so many.
    pub(crate) fn rest(&self, key: Key, so_far: f64) -> f64 {
        self.of(key).rest(so_far).unwrap_or_else(|| (0.5 * so_far).max(100.0))
    }

    fn of(&self, key: Key) -> &Lengths {
        self.keys.get(&key).filter(|lengths| lengths.ring.len() >= OF_KEY_MIN).unwrap_or(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_for_itself_once_it_is_known() {
        let mut answers = Answers::default();
        assert_eq!((answers.expected(Key(1)), answers.rest(Key(1), 300.0)), (250.0, 150.0));
        for _ in 0..15 {
            answers.add(Key(1), 100);
        }
        answers.add(Key(2), 900);
        assert_eq!(answers.expected(Key(1)), 150.0);
        answers.add(Key(1), 100);
        assert_eq!(answers.expected(Key(1)), 100.0);
        assert_eq!(answers.rest(Key(1), 40.0), 60.0);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut answers = Answers::default();
        for length in (0..OF_KEY_MAX as u32).chain(std::iter::repeat_n(500, OF_KEY_MAX)) {
            answers.add(Key(1), length);
        }
        assert_eq!(answers.expected(Key(1)), 500.0);
        for key in 0..2 * KEYS_MAX as u64 {
            answers.add(Key(key), 1);
        }
        assert_eq!(answers.keys.len(), KEYS_MAX);
    }
}
