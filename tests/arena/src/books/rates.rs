//! Rates and lengths, as means over what was seen lately.

use std::collections::VecDeque;

/// What an older observation weighs beside a newer one.
const KEPT: f64 = 0.95;
/// Lengths kept of a key, and of all.
const KEPT_LENGTHS: (usize, usize) = (64, 512);
/// A key with fewer is taken as everyone.
const LENGTHS_MIN: usize = 16;
/// The length of an answer when none was seen, in tokens.
const LENGTH_GUESS: f64 = 250.0;

/// Tokens over seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    tokens: f64,
    seconds: f64,
}

impl Rate {
    /// A first guess, which weighs as much as so many tokens.
    pub(super) fn guess(tps: f64, tokens: f64) -> Self {
        Rate { tokens, seconds: tokens / tps }
    }

    pub(super) fn add(&mut self, tokens: f64, seconds: f64) {
        self.tokens = self.tokens * KEPT + tokens;
        self.seconds = self.seconds * KEPT + seconds;
    }

    pub(super) fn tps(&self) -> f64 {
        self.tokens / self.seconds
    }
}

/// Lengths of answers, in tokens.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    keys: Vec<VecDeque<u32>>,
    all: VecDeque<u32>,
}

impl Outputs {
    pub(super) fn add(&mut self, key: usize, tokens: u32) {
        if self.keys.len() <= key {
            self.keys.resize(key + 1, VecDeque::new());
        }
        push(&mut self.keys[key], tokens, KEPT_LENGTHS.0);
        push(&mut self.all, tokens, KEPT_LENGTHS.1);
    }

    /// How long an answer to this key is expected to be.
    #[must_use]
    pub fn mean(&self, key: usize) -> f64 {
        let lengths = self.of(key);
        if lengths.is_empty() {
            return LENGTH_GUESS;
        }
        lengths.iter().map(|tokens| f64::from(*tokens)).sum::<f64>() / lengths.len() as f64
    }

    /// How much is expected to come of one that has so many already.
    #[must_use]
    pub fn left(&self, key: usize, generated: f64) -> f64 {
        let longer =
            self.of(key).iter().map(|tokens| f64::from(*tokens)).filter(|tokens| *tokens > generated);
        let (sum, count) =
            longer.fold((0.0, 0.0), |(sum, count), tokens| (sum + (tokens - generated), count + 1.0));
        if count >= 3.0 { sum / count } else { (0.5 * generated).max(100.0) }
    }

    fn of(&self, key: usize) -> &VecDeque<u32> {
        self.keys.get(key).filter(|lengths| lengths.len() >= LENGTHS_MIN).unwrap_or(&self.all)
    }
}

fn push(lengths: &mut VecDeque<u32>, tokens: u32, max: usize) {
    lengths.push_back(tokens);
    if lengths.len() > max {
        lengths.pop_front();
    }
}
