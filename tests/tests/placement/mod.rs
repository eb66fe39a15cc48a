//! Placement, seen from outside: servers with caches and models, the planes in front of them, and those who ask.

#![allow(dead_code, reason = "each test file uses a part")]

use fleet::Told;
use serde_json::Value;

pub mod batch;
pub mod fleet;
pub mod swaps;
pub mod talk;

/// Who answers conversations.
pub trait Asked {
    /// Whether the slots of a server share what it keeps of prompts.
    fn pooled(&self) -> bool;

    /// Asks in a stream, and reads it to its end.
    async fn chat(&self, model: &str, messages: &[Value]) -> Told;
}

/// So many words that follow from a seed.
pub fn words(seed: u64, count: usize) -> String {
    let mut chance = crate::slow_parts::Chance(seed);
    let words: Vec<String> = (0..count).map(|_| format!("w{}", chance.below(10_000))).collect();
    words.join(" ")
}
