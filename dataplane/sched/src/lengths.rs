//! How long answers are: of each key to each thing that it asks for, of all to that, and of all.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::latest::Latest;
use crate::{Asked, Key};

/// Answers that are remembered: of a key to the same, of all to the same, and of all.
const OF_KEY_MAX: usize = 64;
const OF_ASKED_MAX: usize = 512;
const OF_ALL_MAX: usize = 512;
/// With fewer of its own, it is taken for one like more of them.
const OWN_MIN: usize = 16;
/// Before any answer, in tokens.
const GUESS: f64 = 250.0;
/// Longer answers than it has come to so far, with which one says how long it will be.
const LONGER_MIN: usize = 3;
/// Pairs of a key and what it asks for that are remembered, and things asked for; at one more, the one with the fewest
/// answers goes.
const KEYS_MAX: usize = 4096;
const ASKED_MAX: usize = 256;

#[derive(Debug)]
struct Lengths {
    latest: Latest<u32>,
    /// The sum of all from each place in `latest.sorted` to its end.
    sums: Vec<u64>,
}

impl Lengths {
    fn new(max: usize) -> Self {
        Lengths { latest: Latest::new(max), sums: Vec::new() }
    }

    fn add(&mut self, length: u32) {
        let (gone, moved) = self.latest.add(length);
        if gone.is_none() {
            self.sums.insert(moved.start, 0);
        }
        let mut behind = self.sums.get(moved.end).copied().unwrap_or_default();
        let lengths = &self.latest.sorted()[moved.clone()];
        for (sum, length) in self.sums[moved.clone()].iter_mut().zip(lengths).rev() {
            behind += u64::from(*length);
            *sum = behind;
        }
        for sum in &mut self.sums[..moved.start] {
            *sum = *sum + u64::from(length) - u64::from(gone.unwrap_or_default());
        }
    }

    fn len(&self) -> usize {
        self.latest.len()
    }

    fn mean(&self) -> Option<f64> {
        self.sums.first().map(|sum| *sum as f64 / self.sums.len() as f64)
    }

    /// How much longer those became that were longer than this.
    fn rest(&self, so_far: f64) -> Option<f64> {
        let from = self.latest.sorted().partition_point(|known| f64::from(*known) <= so_far);
        let longer = self.sums.len() - from;
        (longer >= LONGER_MIN).then(|| self.sums[from] as f64 / longer as f64 - so_far)
    }
}

/// Whose request, and what for.
pub(crate) type Like = (Key, Asked);

/// What is known of the length of answers.
#[derive(Debug)]
pub(crate) struct Answers {
    keys: BTreeMap<Like, Lengths>,
    /// Empty as long as `first` alone is asked for: all are of that.
    asked: BTreeMap<Asked, Lengths>,
    first: Option<Asked>,
    all: Lengths,
    /// What was expected last: a request is asked about more than once while it is placed.
    expected: Cell<Option<(Like, f64)>>,
}

impl Default for Answers {
    fn default() -> Self {
        Answers {
            keys: BTreeMap::new(),
            asked: BTreeMap::new(),
            first: None,
            all: Lengths::new(OF_ALL_MAX),
            expected: Cell::new(None),
        }
    }
}

impl Answers {
    pub(crate) fn add(&mut self, like: Like, tokens: u32) {
        of(&mut self.keys, like, (KEYS_MAX, OF_KEY_MAX)).add(tokens);
        self.expected.set(None);
        if *self.first.get_or_insert(like.1) != like.1 || !self.asked.is_empty() {
            of(&mut self.asked, like.1, (ASKED_MAX, OF_ASKED_MAX)).add(tokens);
        }
        self.all.add(tokens);
    }

    /// How long the next one will be, in tokens.
    pub(crate) fn expected(&self, like: Like) -> f64 {
        if let Some((_, expected)) = self.expected.get().filter(|(known, _)| *known == like) {
            return expected;
        }
        let expected = self.of(like).mean().unwrap_or(GUESS);
        self.expected.set(Some((like, expected)));
        expected
    }

    /// How many tokens are still to come of one that has come to so many.
    pub(crate) fn rest(&self, like: Like, so_far: f64) -> f64 {
        self.of(like).rest(so_far).unwrap_or_else(|| (0.5 * so_far).max(100.0))
    }

    fn of(&self, like: Like) -> &Lengths {
        let known = |lengths: &&Lengths| lengths.len() >= OWN_MIN;
        let own = self.keys.get(&like).filter(known);
        own.or_else(|| self.asked.get(&like.1).filter(known)).unwrap_or(&self.all)
    }
}

/// The lengths of one of at most so many, each with at most so many.
fn of<K: Ord + Copy>(map: &mut BTreeMap<K, Lengths>, key: K, (most, each): (usize, usize)) -> &mut Lengths {
    if map.len() >= most && !map.contains_key(&key) {
        let least = map.iter().min_by_key(|(_, lengths)| lengths.len());
        if let Some(least) = least.map(|(key, _)| *key) {
            map.remove(&least);
        }
    }
    map.entry(key).or_insert_with(|| Lengths::new(each))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Asked = Asked(1);
    const B: Asked = Asked(2);

    #[test]
    fn a_key_counts_for_itself_once_it_is_known() {
        let mut answers = Answers::default();
        let one = (Key(1), A);
        assert_eq!((answers.expected(one), answers.rest(one, 300.0)), (250.0, 150.0));
        for _ in 0..15 {
            answers.add(one, 100);
        }
        answers.add((Key(2), A), 900);
        assert_eq!(answers.expected(one), 150.0);
        answers.add(one, 100);
        assert_eq!(answers.expected(one), 100.0);
        assert_eq!(answers.rest(one, 40.0), 60.0);
    }

    #[test]
    fn what_is_asked_for_counts_before_who_asks() {
        let mut answers = Answers::default();
        for _ in 0..16 {
            answers.add((Key(1), A), 100);
            answers.add((Key(1), B), 1000);
        }
        assert_eq!((answers.expected((Key(1), A)), answers.expected((Key(1), B))), (100.0, 1000.0));
        // a stranger writes as others do to the same; of what nobody asked for, as all do
        assert_eq!((answers.expected((Key(9), B)), answers.expected((Key(1), Asked(3)))), (1000.0, 550.0));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut answers = Answers::default();
        for length in (0..OF_KEY_MAX as u32).chain(std::iter::repeat_n(500, OF_KEY_MAX)) {
            answers.add((Key(1), A), length);
        }
        assert_eq!(answers.expected((Key(1), A)), 500.0);
        for key in 0..2 * KEYS_MAX as u64 {
            answers.add((Key(key), Asked(key)), 1);
        }
        assert_eq!((answers.keys.len(), answers.asked.len()), (KEYS_MAX, ASKED_MAX));
    }
}
