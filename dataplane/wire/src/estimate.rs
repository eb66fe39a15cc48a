//! Prompt tokens, estimated from the bytes of text that the model will see.

/// Bytes of text that stand for one token.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Tokens that one image, sound or document counts for; its bytes say nothing about it.
pub const MEDIA_TOKENS: u64 = 1024;

/// What a prompt weighs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Weight {
    /// Bytes of text, escapes resolved.
    pub text_bytes: u64,
    /// Images, sounds and documents.
    pub media: u64,
    /// Tokens given as numbers.
    pub tokens: u64,
}

impl Weight {
    /// The estimate in tokens, rounded up.
    pub fn prompt_tokens(&self) -> u32 {
        let tokens = self.text_bytes.div_ceil(BYTES_PER_TOKEN) + self.media * MEDIA_TOKENS + self.tokens;
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}
