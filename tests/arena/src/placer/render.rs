//! Prompts as the chained blocks that a router makes of them.

use super::Block;
use crate::rng::mix;
use crate::work::Request;

/// The blocks of a request's prompt, one a message: the servers of this world keep or lose a message whole.
#[must_use]
pub fn blocks(request: &Request) -> Vec<Block> {
    let mut hash = u64::from(request.model);
    let block = |(index, segment): (usize, &crate::cache::Segment)| {
        hash = mix(hash ^ mix(segment.id ^ mix(u64::from(segment.tokens) << 32)));
        Block { hash, tokens: segment.tokens, own: request.answers.contains(&index) }
    };
    request.prompt.iter().enumerate().filter(|(_, segment)| segment.tokens > 0).map(block).collect()
}
