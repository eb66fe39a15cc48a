//! Prompts as the chained blocks that a router makes of them.

use super::Block;
use crate::rng::mix;
use crate::work::Request;

/// A message longer than this is cut, in tokens.
pub const BLOCK_TOKENS_MAX: u32 = 1024;

/// The blocks of a request's prompt: one ends with every message, and long messages are cut.
#[must_use]
pub fn blocks(request: &Request) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(request.prompt.len());
    let mut hash = u64::from(request.model);
    for (index, segment) in request.prompt.iter().enumerate() {
        let own = request.answers.contains(&index);
        let mut left = segment.tokens;
        while left > 0 {
            let tokens = left.min(BLOCK_TOKENS_MAX);
            left -= tokens;
            hash = mix(hash ^ mix(segment.id ^ mix(u64::from(segment.tokens) << 32 | u64::from(left))));
            blocks.push(Block { hash, tokens, own: own && left == 0 });
        }
    }
    blocks
}
