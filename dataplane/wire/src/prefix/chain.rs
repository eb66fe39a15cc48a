//! Bytes of a rendering in, chained blocks out.

use twox_hash::XxHash3_64;

use super::unescape::{SLACK_BYTES, resolve, spelled};
use super::{BLOCK_BYTES, BLOCKS_MAX, Block, Stop};
use crate::estimate::{BYTES_PER_TOKEN, MEDIA_TOKENS};
use crate::scan::{Text, settled};

/// Begins a part; no UTF-8 text holds it.
pub(super) const MARK: u8 = 0xff;

/// Stands for the quotes of a string inside of JSON, and between fields; no UTF-8 text holds it.
pub(super) const QUOTE: u8 = 0xfe;

/// A text on its way: its bytes are counted by how much of it has come, so that nobody counts its escapes block by block.
struct Part {
    /// What came before it.
    before: u64,
    done: u64,
    /// Bytes as it is rendered, and those of its escapes beyond what they stand for.
    length: u64,
    spare: u64,
}

impl Part {
    fn bytes(&self) -> u64 {
        self.before + self.done - self.spare * self.done / self.length.max(1)
    }
}

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
            block: Vec::with_capacity(bytes_max.min(BLOCK_BYTES) + SLACK_BYTES),
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

    /// The same from a string, with escapes where there must be some: almost all hands write it so.
    pub(super) fn string(&mut self, text: &Text<'_>) -> Result<(), Stop> {
        let raw = text.raw.as_bytes();
        if text.plain().is_some() {
            return self.text(raw);
        }
        let looked = || Some(settled(raw)).filter(|(bytes, _)| *bytes == raw.len());
        let escapes = text.escapes.map(u64::from).or_else(|| looked().map(|(_, escapes)| escapes as u64));
        if let Some(escapes) = escapes {
            let mut part = self.part(raw.len() as u64, escapes);
            return self.place(raw, &mut part);
        }
        let mut text = Vec::with_capacity(raw.len());
        let spare = spelled(raw, &mut text);
        let mut part = self.part(text.len() as u64, spare);
        self.place(&text, &mut part)
    }

    /// Text as a string has it.
    pub(super) fn quoted(&mut self, mut text: &[u8]) -> Result<(), Stop> {
        let spare = memchr::memchr2_iter(b'"', b'\\', text).count() as u64;
        let mut part = self.part(text.len() as u64 + spare, spare);
        while let Some(run) = memchr::memchr2(b'"', b'\\', text) {
            self.place(&text[..run], &mut part)?;
            self.place(&[b'\\', text[run]], &mut part)?;
            text = &text[run + 1..];
        }
        self.place(text, &mut part)
    }

    /// A string inside of JSON, with its escapes resolved.
    pub(super) fn inner(&mut self, text: &Text<'_>) -> Result<(), Stop> {
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
        self.hash = XxHash3_64::oneshot_with_seed(self.hash, &self.block[..self.filled]);
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

    fn part(&self, length: u64, spare: u64) -> Part {
        Part { before: self.bytes, done: 0, length, spare }
    }

    fn push(&mut self, bytes: &[u8], weight: u64) -> Result<(), Stop> {
        let length = bytes.len() as u64;
        let mut part = self.part(length, length * (1 - weight));
        self.place(bytes, &mut part)
    }

    /// A full block ends when more is to come, so a text that ends there and one that goes on share it.
    fn place(&mut self, mut bytes: &[u8], part: &mut Part) -> Result<(), Stop> {
        while bytes.len() > BLOCK_BYTES - self.filled {
            let (now, later) = bytes.split_at(BLOCK_BYTES - self.filled);
            bytes = later;
            part.done += now.len() as u64;
            if self.filled > 0 {
                self.add(now);
                self.bytes = part.bytes();
                self.close()?;
            } else {
                // a whole block is hashed where it lies
                self.hash = XxHash3_64::oneshot_with_seed(self.hash, now);
                self.bytes = part.bytes();
                self.closed()?;
            }
        }
        self.add(bytes);
        part.done += bytes.len() as u64;
        self.bytes = part.bytes();
        Ok(())
    }

    /// Bytes that fit into the block.
    fn add(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        if let Some(room) = self.block.get_mut(self.filled..end) {
            room.copy_from_slice(bytes);
        } else {
            self.block.truncate(self.filled);
            self.block.extend_from_slice(bytes);
        }
        self.filled = end;
    }

    /// As `push`, of a text whose escapes are resolved.
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
