//! Bytes of a rendering in, chained blocks out.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::unescape::{SLACK_BYTES, resolve};
use super::{BLOCK_BYTES, BLOCKS_MAX, Block, Stop};
use crate::estimate::{BYTES_PER_TOKEN, MEDIA_TOKENS};
use crate::scan::Text;

/// Begins a part; no UTF-8 text holds it.
pub(super) const MARK: u8 = 0xff;

/// Stands for the quotes of a string inside of JSON, and between fields; no UTF-8 text holds it.
pub(super) const QUOTE: u8 = 0xfe;

pub(super) struct Chain<'o> {
    out: &'o mut Vec<Block>,
    /// How many more blocks there may be.
    left: usize,
    /// Of the last block.
    hash: u64,
    /// What is in the block, and how much of it; the rest is room.
    block: Vec<u8>,
    filled: usize,
    /// Bytes of text so far, and the tokens that blocks have told of them: roundings do not add up.
    bytes: u64,
    told: u64,
    /// Tokens in this block that are not text.
    others: u64,
    /// The block is the assistant's.
    own: bool,
}

impl<'o> Chain<'o> {
    /// `bytes_max` is more than the rendering can have, for a start.
    pub(super) fn new(salt: u64, bytes_max: usize, out: &'o mut Vec<Block>) -> Self {
        Chain {
            out,
            left: BLOCKS_MAX,
            hash: salt,
            block: vec![0; bytes_max.min(BLOCK_BYTES) + SLACK_BYTES],
            filled: 0,
            bytes: 0,
            told: 0,
            others: 0,
            own: false,
        }
    }

    /// Whose part comes next: the block of the assistant ends with its turn.
    pub(super) fn turn(&mut self, own: bool) -> Result<(), Stop> {
        if self.own && !own {
            self.close()?;
        }
        self.own = own;
        Ok(())
    }

    /// Bytes that only hold parts apart.
    pub(super) fn mark(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.push(bytes, 0)
    }

    /// Text that the model sees.
    pub(super) fn text(&mut self, text: &[u8]) -> Result<(), Stop> {
        self.push(text, 1)
    }

    /// The same, with its escapes resolved.
    pub(super) fn string(&mut self, text: &Text<'_>) -> Result<(), Stop> {
        match text.plain() {
            Some(plain) => self.text(plain.as_bytes()),
            None => self.resolved(text.raw.as_bytes()),
        }
    }

    /// A token by its number.
    pub(super) fn token(&mut self, number: &str) -> Result<(), Stop> {
        self.others += 1;
        self.push(number.as_bytes(), 0)?;
        self.push(b",", 0)
    }

    /// A picture, a sound or a document: by its kind and the hash of its bytes, or by its address.
    pub(super) fn media(&mut self, name: &[u8]) -> Result<(), Stop> {
        self.others += MEDIA_TOKENS;
        self.push(name, 0)
    }

    /// Ends the block, if there is anything in it.
    pub(super) fn close(&mut self) -> Result<(), Stop> {
        if self.filled == 0 {
            return Ok(());
        }
        self.hash = xxh3_64_with_seed(&self.block[..self.filled], self.hash);
        self.filled = 0;
        self.closed()
    }

    /// The hash is that of one more block.
    fn closed(&mut self) -> Result<(), Stop> {
        let total = self.bytes.div_ceil(BYTES_PER_TOKEN);
        let tokens = u32::try_from(total - self.told + self.others).unwrap_or(u32::MAX);
        (self.told, self.others) = (total, 0);
        self.out.push(Block { hash: self.hash, tokens, own: self.own });
        self.left -= 1;
        if self.left == 0 { Err(Stop::Full) } else { Ok(()) }
    }

    /// A full block ends when more is to come, so a text that ends there and one that goes on share it.
    fn push(&mut self, mut bytes: &[u8], weight: u64) -> Result<(), Stop> {
        while bytes.len() > BLOCK_BYTES - self.filled {
            let (now, later) = bytes.split_at(BLOCK_BYTES - self.filled);
            bytes = later;
            if self.filled > 0 {
                self.add(now, weight);
                self.close()?;
            } else {
                // a whole block is hashed where it lies
                self.hash = xxh3_64_with_seed(now, self.hash);
                self.bytes += weight * now.len() as u64;
                self.closed()?;
            }
        }
        self.add(bytes, weight);
        Ok(())
    }

    /// Bytes that fit into the block.
    fn add(&mut self, bytes: &[u8], weight: u64) {
        self.room(bytes.len());
        self.block[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
        self.bytes += weight * bytes.len() as u64;
    }

    /// As `push`, of a text that holds escapes.
    fn resolved(&mut self, mut raw: &[u8]) -> Result<(), Stop> {
        while !raw.is_empty() {
            self.room(raw.len());
            let before = self.filled;
            let (filled, rest) = resolve(raw, &mut self.block, before, BLOCK_BYTES);
            self.filled = filled.min(BLOCK_BYTES);
            self.bytes += (self.filled - before) as u64;
            if filled > BLOCK_BYTES {
                self.close()?;
                self.block.copy_within(BLOCK_BYTES..filled, 0);
                self.filled = filled - BLOCK_BYTES;
                self.bytes += self.filled as u64;
            }
            raw = rest;
        }
        Ok(())
    }

    /// Room for so many bytes more, or all that fit into the block.
    fn room(&mut self, bytes: usize) {
        if self.block.len() < BLOCK_BYTES.min(self.filled + bytes) + SLACK_BYTES {
            self.block.resize(BLOCK_BYTES + SLACK_BYTES, 0);
        }
    }
}
