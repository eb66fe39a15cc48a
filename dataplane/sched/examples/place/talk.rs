//! Conversations as the core sees them.

use std::sync::Arc;

use sched::Block;

/// The blocks of a prompt.
pub type Prompt = Arc<[Block]>;

/// The length of one message, and of one answer, in tokens.
pub const MESSAGE_TOKENS: u32 = 600;
pub const ANSWER_TOKENS: u32 = 200;
/// Blocks that all conversations begin with, and their length.
pub const SHARED: u64 = 8;
const SHARED_TOKENS: u32 = 1000;
/// A conversation goes on for so many turns, then again from its first messages.
const TURNS: u64 = 8;

/// The prompt of a turn of a conversation that began with so many blocks.
pub fn prompt(talk: u64, messages: u64, turn: u64) -> Prompt {
    let mut hash = 0u64;
    let mut block = |what: u64, tokens: u32, own: bool| {
        hash = mix(hash ^ mix(what));
        Block { hash, tokens, own }
    };
    let mut blocks = Vec::new();
    for message in 0..messages {
        blocks.push(match message < SHARED {
            true => block(message, SHARED_TOKENS, false),
            false => block((talk << 32) | message, MESSAGE_TOKENS, false),
        });
    }
    for later in 0..turn % TURNS {
        let what = (talk << 32) | ((turn / TURNS) << 16) | (later << 1) | (1 << 31);
        blocks.push(block(what, ANSWER_TOKENS, true));
        blocks.push(block(what | 1, MESSAGE_TOKENS, false));
    }
    blocks.into()
}

/// The length of a prompt.
pub fn tokens(prompt: &Prompt) -> u32 {
    prompt.iter().map(|block| block.tokens).sum()
}

/// Splitmix64's end.
pub fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
