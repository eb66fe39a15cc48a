//! Strings, many bytes at a time.

use wide::u8x16;

const QUOTE: u8x16 = u8x16::new([b'"'; 16]);
const BACKSLASH: u8x16 = u8x16::new([b'\\'; 16]);
const SLASH: u8x16 = u8x16::new([b'/'; 16]);
const LETTER_U: u8x16 = u8x16::new([b'u'; 16]);
const LAST_CONTROL: u8x16 = u8x16::new([0x1f; 16]);

/// What may stand behind a backslash for one character.
pub(super) const SHORT_ESCAPE: [bool; 256] = {
    let mut short = [false; 256];
    let mut index = 0;
    while index < 8 {
        short[b"\"\\/bfnrt"[index] as usize] = true;
        index += 1;
    }
    short
};

/// Some bytes of a string, looked through at once.
pub(super) struct Block {
    /// Where a quote, a backslash or a control character stands, a bit each; behind the last byte where the text ends.
    pub(super) ends: u32,
    /// How many.
    pub(super) bytes: usize,
}

impl Block {
    /// The next 32 bytes, or the one run before what ends it where fewer are left.
    pub(super) fn of(bytes: &[u8]) -> Self {
        if let Some((block, _)) = bytes.split_first_chunk::<32>() {
            let (lanes, _) = block.as_chunks::<16>();
            return Block { ends: ends(&lanes[0]) | ends(&lanes[1]) << 16, bytes: 32 };
        }
        let ends = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
        let run = bytes.iter().position(ends).unwrap_or(bytes.len());
        Block { ends: 1 << run, bytes: run }
    }
}

/// Which of sixteen bytes are a quote, a backslash or a control character.
pub(super) fn ends(lane: &[u8; 16]) -> u32 {
    let lane = u8x16::new(*lane);
    let control = lane.min(LAST_CONTROL).simd_eq(lane);
    (lane.simd_eq(QUOTE) | lane.simd_eq(BACKSLASH) | control).to_bitmask()
}

/// Bytes before the first that a string has escaped: a quote, a backslash or a control character.
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let block = Block::of(&bytes[at..]);
        if block.ends != 0 {
            return at + block.ends.trailing_zeros() as usize;
        }
        at += block.bytes;
    }
}

/// Where a string ends that has been read before, and whether it holds escapes; `bytes` begin behind its first quote.
pub(super) fn string_end(bytes: &[u8]) -> Option<(usize, bool)> {
    // Most strings are keys, where a search that begins with a call is dear.
    let head = bytes.first_chunk().map_or(0, |lane| {
        let lane = u8x16::new(*lane);
        let hits = (lane.simd_eq(QUOTE) | lane.simd_eq(BACKSLASH)).to_bitmask() | 1 << 16;
        hits.trailing_zeros() as usize
    });
    let run = match bytes.get(head) {
        Some(b'"' | b'\\') => head,
        _ => head + memchr::memchr2(b'"', b'\\', &bytes[head..])?,
    };
    if bytes[run] == b'"' {
        return Some((run, false));
    }
    // Which quotes are escaped is computed, since a branch at every escape would be foreseen badly.
    let (mut at, mut carry) = (run, 0);
    loop {
        let mut block = [0; 64];
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let block = match rest.first_chunk() {
            Some(block) => block,
            None => {
                block[..rest.len()].copy_from_slice(rest);
                &block
            }
        };
        let ends = mask(block, QUOTE) & !escaped(mask(block, BACKSLASH), &mut carry);
        if ends != 0 {
            return Some((at + ends.trailing_zeros() as usize, true));
        }
        at += 64;
    }
}

/// How much of a part of a string is written in the one way that there is: no escape of six bytes, none of a slash, and no
/// half of one at its end; and how many escapes are in that.
pub(crate) fn settled(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut escapes) = (0, 0);
    loop {
        let (rest, mut padded) = (&bytes[at..], [0; 64]);
        let block = match rest.first_chunk() {
            Some(block) => block,
            None if rest.is_empty() => return (at, escapes),
            None => {
                padded[..rest.len()].copy_from_slice(rest);
                &padded
            }
        };
        let (length, backslashes) = (rest.len().min(64), mask(block, BACKSLASH));
        if backslashes == 0 {
            at += length;
            continue;
        }
        let mut carry = 0;
        let behind = escaped(backslashes, &mut carry);
        let within = behind & u64::MAX >> (64 - length);
        let half = usize::from(carry != 0 || behind != within);
        let other = within & (mask(block, SLASH) | mask(block, LETTER_U));
        if other != 0 {
            let end = other.trailing_zeros() - 1;
            return (at + end as usize, escapes + (within & !(u64::MAX << end)).count_ones() as usize);
        }
        (at, escapes) = (at + length - half, escapes + within.count_ones() as usize);
        if rest.len() <= 64 {
            return (at, escapes);
        }
    }
}

/// One bit for each byte that is the one looked for.
fn mask(block: &[u8; 64], one: u8x16) -> u64 {
    let (lanes, _) = block.as_chunks::<16>();
    let bits = lanes.iter().enumerate();
    bits.fold(0, |all, (index, lane)| {
        all | u64::from(u8x16::new(*lane).simd_eq(one).to_bitmask()) << (16 * index)
    })
}

/// The bytes behind backslashes that are not escaped themselves; `carry` tells of the byte behind the block. After
/// "Parsing Gigabytes of JSON per Second" (Langdale, Lemire 2019), section 3.1.1.
fn escaped(backslashes: u64, carry: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslashes = backslashes & !*carry;
    let follows = backslashes << 1 | *carry;
    let odd_starts = backslashes & !EVEN & !follows;
    let (sequences, over) = odd_starts.overflowing_add(backslashes);
    *carry = u64::from(over);
    (EVEN ^ (sequences << 1)) & follows
}

/// Which of the first 32 bytes are backslashes.
pub(crate) fn backslashes(bytes: &[u8; 64]) -> u32 {
    let (lanes, _) = bytes.as_chunks::<16>();
    let [one, other] = [lanes[0], lanes[1]].map(|lane| u8x16::new(lane).simd_eq(BACKSLASH).to_bitmask());
    one | other << 16
}

/// Bytes before the first backslash of sixteen; sixteen where there is none.
pub(crate) fn before_backslash(bytes: &[u8; 16]) -> usize {
    let hits = u8x16::new(*bytes).simd_eq(BACKSLASH).to_bitmask() | 1 << 16;
    hits.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::{plain_run, settled, string_end};

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..40 {
                let mut bytes = [b'a'; 40];
                bytes[at] = byte;
                let ends = byte == b'"' || byte == b'\\' || byte < 0x20;
                assert_eq!(plain_run(&bytes), if ends { at } else { 40 }, "{byte:#x} at {at}");
                bytes[39] = b'"';
                let expected = if ends { at } else { 39 };
                assert_eq!(plain_run(&bytes), expected, "{byte:#x} at {at}, then a quote");
            }
        }
    }

    /// As [`settled`] counts, a byte at a time.
    fn slowly(bytes: &[u8]) -> (usize, usize) {
        let (mut at, mut escapes) = (0, 0);
        while at < bytes.len() {
            match (bytes[at], bytes.get(at + 1)) {
                (b'\\', None | Some(b'u' | b'/')) => break,
                (b'\\', _) => (at, escapes) = (at + 2, escapes + 1),
                _ => at += 1,
            }
        }
        (at, escapes)
    }

    #[test]
    fn what_is_written_in_one_way_is_found_however_it_is_cut() {
        let pieces: [&[u8]; 8] =
            [b"u/", b"\\\\", b"\\\"", b"\\n", b"0123456789abcdef0123456789", b"\\\\\\\\", b"\\u00fc", b"\\/"];
        let mut seed = 1_u64;
        for round in 0..4_000 {
            // texts with none of the last two, then some with them
            let kinds = if round % 2 == 0 { 6 } else { 8 };
            let mut string = Vec::new();
            for _ in 0..round % 37 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                string.extend_from_slice(pieces[(seed >> 33) as usize % kinds]);
            }
            for end in [0, 1, 63, 64, 65, 128, string.len()] {
                let part = &string[..end.min(string.len())];
                assert_eq!(settled(part), slowly(part), "{}", String::from_utf8_lossy(part));
            }
        }
    }

    #[test]
    fn strings_end_at_the_first_quote_that_is_not_escaped() {
        let pieces: [&[u8]; 6] = [b"a", b"\\\\", b"\\\"", b"\\n", b"0123456789abcdef0123456789", b"\\\\\\\\"];
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let mut string = Vec::new();
            for _ in 0..seed % 23 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                string.extend_from_slice(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let length = string.len();
            let text = String::from_utf8_lossy(&string).into_owned();
            assert_eq!(string_end(&string), None, "{text}");
            string.extend_from_slice(b"\",\"b\":\"\\\"");
            assert_eq!(string_end(&string), Some((length, text.contains('\\'))), "{text}");
        }
    }
}
