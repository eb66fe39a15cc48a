//! Strings, many bytes at a time.

use wide::u8x16;

const QUOTE: u8x16 = u8x16::new([b'"'; 16]);
const BACKSLASH: u8x16 = u8x16::new([b'\\'; 16]);
const SLASH: u8x16 = u8x16::new([b'/'; 16]);
const LETTER_U: u8x16 = u8x16::new([b'u'; 16]);
const LAST_CONTROL: u8x16 = u8x16::new([0x1f; 16]);

/// What a letter makes of the backslash before it: [`ONLY`] and [`OTHER`] for an escape of two bytes; zero for all else.
pub(super) const ESCAPE: [u8; 256] = {
    let mut escape = [0; 256];
    let mut index = 0;
    while index < 7 {
        escape[b"\"\\bfnrt"[index] as usize] = ONLY;
        index += 1;
    }
    escape[b'/' as usize] = OTHER;
    escape
};

/// An escape of a character that must have one, in the shortest way.
pub(super) const ONLY: u8 = 1;
/// One that could be without.
const OTHER: u8 = 2;

/// The part of a string up to its end, to a fault, or to an escape that is not looked into.
pub(super) struct Run {
    pub(super) bytes: usize,
    /// How many escapes of two bytes it has.
    pub(super) escapes: u64,
    /// Whether all these are [`ONLY`].
    pub(super) settled: bool,
}

impl Run {
    /// The one at the start of `bytes`. Near their end it is the part before the first escape.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (mut rest, mut escapes, mut kinds) = (bytes, 0, ONLY);
        let end = 'run: loop {
            let done = bytes.len() - rest.len();
            // With room behind it, what follows an escape in the stretch is always there.
            let Some(window) = rest.first_chunk::<64>() else { break done + plain_run(rest) };
            let (lanes, _) = window.as_chunks::<16>();
            let mut marks = ends(&lanes[0]) | ends(&lanes[1]) << 16;
            rest = &rest[32..];
            while marks != 0 {
                let at = marks.trailing_zeros() as usize & 31;
                let kind = ESCAPE[usize::from(window[at + 1])];
                if window[at] != b'\\' || kind == 0 {
                    break 'run done + at;
                }
                escapes += 1;
                kinds |= kind;
                if at == 31 {
                    // Foreseen as a branch; behind a sum the next stretch would wait for it.
                    rest = &rest[1..];
                    break;
                }
                marks &= !1 << (at + 1);
            }
        };
        Run { bytes: end, escapes, settled: kinds == ONLY }
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
    let (lanes, rest) = bytes.as_chunks::<16>();
    for (index, lane) in lanes.iter().enumerate() {
        let ends = ends(lane);
        if ends != 0 {
            return 16 * index + ends.trailing_zeros() as usize;
        }
    }
    let ends = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    bytes.len() - rest.len() + rest.iter().position(ends).unwrap_or(rest.len())
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
    use super::{ONLY, OTHER, Run, plain_run, settled, string_end};

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

    /// As [`Run::of`], a byte at a time.
    fn run_slowly(bytes: &[u8]) -> (usize, u64, u8) {
        let (mut at, mut escapes, mut kinds) = (0, 0, ONLY);
        loop {
            let kind = match (bytes.get(at), bytes.get(at + 1)) {
                (None | Some(b'"' | 0..0x20), _) => return (at, escapes, kinds),
                (Some(b'\\'), Some(b'/')) => OTHER,
                (Some(b'\\'), Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't')) => ONLY,
                (Some(b'\\'), _) => return (at, escapes, kinds),
                _ => 0,
            };
            (escapes, kinds) = (escapes + u64::from(kind != 0), kinds | kind);
            at += 1 + usize::from(kind != 0);
        }
    }

    #[test]
    fn a_run_ends_where_it_must_and_counts_its_escapes() {
        let pieces: [&[u8]; 9] =
            [b"a", b"0123456789abcde", b"\\\\", b"\\\"", b"\\n", b"\\/", b"\"", b"\\u00fc", b"\\x\n"];
        let mut seed = 1_u64;
        for round in 0..20_000 {
            // half of them without an end, some without a slash
            let kinds = [5, 6, 9, 9][round % 4];
            let mut string = Vec::new();
            for _ in 0..round % 43 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let piece = (seed >> 33) as usize;
                string.extend_from_slice(
                    pieces[if piece % 16 < 12 { piece / 16 % 5 } else { piece / 16 % kinds }],
                );
            }
            let text = String::from_utf8_lossy(&string).into_owned();
            let (end, escapes, kinds) = run_slowly(&string);
            let first = Run::of(&string);
            // near the end of the bytes it goes on by itself
            let mut settled = first.settled;
            let (mut at, mut counted) = (first.bytes, first.escapes);
            while at < end {
                assert!(string.len() - at < 64 && string[at] == b'\\', "{text} at {at}");
                settled &= string[at + 1] != b'/';
                let next = Run::of(&string[at + 2..]);
                (at, counted, settled) =
                    (at + 2 + next.bytes, counted + 1 + next.escapes, settled & next.settled);
            }
            assert_eq!((at, counted, settled), (end, escapes, kinds == ONLY), "{text}");
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
