//! Placement, seen from outside: servers with caches and models, the planes in front of them, and those who ask.

pub mod batch;
pub mod fleet;
pub mod swaps;
pub mod talk;

/// So many words that follow from a seed.
pub fn words(seed: u64, count: usize) -> String {
    let mut chance = crate::slow_parts::Chance(seed);
    let words: Vec<String> = (0..count).map(|_| format!("w{}", chance.below(10_000))).collect();
    words.join(" ")
}
