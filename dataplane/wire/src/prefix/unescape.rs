//! Strings of JSON with their escapes resolved, right to where they are wanted.

use crate::scan::{backslashes, before_backslash, plain_run};

/// How much of a string is looked at at a time, how much there must be for that, and how much at its end.
const STRETCH_BYTES: usize = 32;
const WINDOW_BYTES: usize = 2 * STRETCH_BYTES;
const LANE_BYTES: usize = 16;
/// What is gathered of one that is handed on in pieces.
const PIECE_BYTES: usize = 512;

/// So many bytes behind what is wanted may be written over.
pub(super) const SLACK_BYTES: usize = 2 * STRETCH_BYTES;

/// Half of a surrogate pair is read as this, as most servers do.
const LONE: char = char::REPLACEMENT_CHARACTER;

/// Puts what a string that has passed the scanner stands for, quotes left out, into `out` from `filled` on, until there are
/// more than `most` bytes in it. The answer is how many there are, and what is left of the string.
///
/// `out` has `SLACK_BYTES` behind `most`, or behind as many bytes as the string has.
pub(super) fn resolve<'a>(
    mut rest: &'a [u8],
    out: &mut [u8],
    mut filled: usize,
    most: usize,
) -> (usize, &'a [u8]) {
    while filled <= most
        && let Some(window) = rest.first_chunk::<WINDOW_BYTES>()
    {
        let mut marks = u64::from(backslashes(window)) | 1 << STRETCH_BYTES;
        let mut at = 0;
        while at < STRETCH_BYTES {
            marks &= u64::MAX << at;
            let next = marks.trailing_zeros() as usize;
            // A whole stretch is copied, so that its length is no branch; what is too much is written over.
            out[filled..filled + STRETCH_BYTES].copy_from_slice(&window[at..at + STRETCH_BYTES]);
            filled += next - at;
            at = next;
            if next < STRETCH_BYTES {
                at = rest.len() - character(&rest[next..], out, &mut filled).len();
            }
        }
        rest = &rest[at..];
    }
    while filled <= most
        && let Some(lane) = rest.first_chunk::<LANE_BYTES>()
    {
        out[filled..filled + LANE_BYTES].copy_from_slice(lane);
        let run = before_backslash(lane);
        filled += run;
        rest = &rest[run..];
        if run < LANE_BYTES {
            rest = character(rest, out, &mut filled);
        }
    }
    while filled <= most
        && let Some((&byte, behind)) = rest.split_first()
    {
        if byte == b'\\' {
            rest = character(rest, out, &mut filled);
        } else {
            out[filled] = byte;
            filled += 1;
            rest = behind;
        }
    }
    (filled, rest)
}

/// Calls `take` with what a string stands for, in pieces.
pub(super) fn pieces<E>(raw: &str, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let (mut rest, mut piece) = (raw.as_bytes(), [0; PIECE_BYTES + SLACK_BYTES]);
    while !rest.is_empty() {
        let (length, behind) = resolve(rest, &mut piece, 0, PIECE_BYTES);
        take(&piece[..length])?;
        rest = behind;
    }
    Ok(())
}

/// Adds what a string that has passed the scanner is like with no escapes but those that there must be, each in its shortest
/// way. The answer is how many bytes these have beyond what they stand for.
pub(super) fn spelled(raw: &[u8], out: &mut Vec<u8>) -> u64 {
    let mut plain = vec![0; raw.len() + SLACK_BYTES];
    let (length, _) = resolve(raw, &mut plain, 0, usize::MAX);
    let (mut rest, mut spare) = (&plain[..length], 0);
    loop {
        let (run, behind) = rest.split_at(plain_run(rest));
        out.extend_from_slice(run);
        let Some((one, behind)) = behind.split_first() else { return spare };
        let mut room = [0; 6];
        let piece = spell(*one, &mut room);
        out.extend_from_slice(piece);
        spare += piece.len() as u64 - 1;
        rest = behind;
    }
}

/// The escape of a character that must have one.
fn spell(one: u8, room: &mut [u8; 6]) -> &[u8] {
    let letter = match one {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x8 => b'b',
        0xc => b'f',
        0..0x20 => {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
            *room = [b'\\', b'u', b'0', b'0', digit(one >> 4), digit(one)];
            return room;
        }
        _ => one,
    };
    (room[0], room[1]) = (b'\\', letter);
    &room[..2]
}

/// Adds what the escape at the start of `rest` stands for; the answer is what is behind it.
#[inline(always)]
fn character<'a>(rest: &'a [u8], out: &mut [u8], filled: &mut usize) -> &'a [u8] {
    if let [_, letter, behind @ ..] = rest
        && SIMPLE[usize::from(*letter)] != 0
    {
        out[*filled] = SIMPLE[usize::from(*letter)];
        *filled += 1;
        return behind;
    }
    let (one, length) = unicode(rest);
    *filled += one.encode_utf8(&mut out[*filled..]).len();
    rest.get(length..).unwrap_or_default()
}

/// What a letter behind a backslash stands for; zero for `u`, and for what is no ASCII.
const SIMPLE: [u8; 256] = {
    let mut simple = [0; 256];
    let mut letter = 1;
    while letter < 128 {
        simple[letter] = match letter as u8 {
            b'b' => 0x8,
            b'f' => 0xc,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => 0,
            other => other,
        };
        letter += 1;
    }
    simple
};

fn unicode(rest: &[u8]) -> (char, usize) {
    let high = unit(rest);
    if let Some(one) = char::from_u32(high) {
        return (one, 6);
    }
    let low = match rest.get(6..) {
        Some(next) if next.starts_with(b"\\u") => unit(next),
        _ => 0,
    };
    if (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low) {
        let both = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(both).unwrap_or(LONE), 12);
    }
    (LONE, 6)
}

/// The number behind `\u`.
fn unit(escape: &[u8]) -> u32 {
    let digits = escape.iter().skip(2).take(4);
    digits.fold(0, |unit, &digit| unit * 16 + u32::from(HEX[usize::from(digit)]))
}

const HEX: [u8; 256] = {
    let mut values = [0; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        values[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(raw: &str) -> String {
        let mut bytes = vec![0; raw.len() + SLACK_BYTES];
        let (length, rest) = resolve(raw.as_bytes(), &mut bytes, 0, usize::MAX);
        assert!(rest.is_empty());
        bytes.truncate(length);
        for most in [0, 7, 40, 100] {
            assert_eq!(in_parts(raw.as_bytes(), most), bytes, "{most} at a time of {raw}");
        }
        String::from_utf8(bytes).unwrap()
    }

    /// The same, a little more than so many bytes at a time.
    fn in_parts(mut rest: &[u8], most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !rest.is_empty() {
            let mut part = vec![0; most + SLACK_BYTES];
            let (length, behind) = resolve(rest, &mut part, 0, most);
            bytes.extend_from_slice(&part[..length]);
            rest = behind;
        }
        bytes
    }

    #[test]
    fn as_serde_json_does() {
        let long = "ü".repeat(300);
        let cases = [
            "",
            "a",
            r#"\"\\\/\b\f\n\r\t"#,
            r"\u00fc\u00FC\u0000\uffff\u20ac",
            r"\ud83e\udd99x\uD83E\uDD99",
            r"0123456789012345678901234567890123456789\n0123456789\n",
            &long,
        ];
        for raw in cases {
            let expected: String = serde_json::from_str(&format!("\"{raw}\"")).unwrap();
            assert_eq!(resolved(raw), expected, "{raw}");
            let many = raw.repeat(50);
            assert_eq!(resolved(&many), expected.repeat(50), "{raw}");
        }
    }

    #[test]
    fn a_text_is_spelled_in_one_way_however_it_is_written() {
        let texts =
            ["", "plain ü 🦙", "\"\\/\n\r\t\u{8}\u{c}", "\u{1}\u{1f} \u{7f}", "a\\/b\\\\u00fc", "\u{fffd}x"];
        for text in texts {
            let every = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>();
            let slashes = serde_json::to_string(text).unwrap().replace('/', r"\/");
            let plain = serde_json::to_string(text).unwrap();
            let ways =
                [every, slashes[1..slashes.len() - 1].to_owned(), plain[1..plain.len() - 1].to_owned()];
            for raw in ways.map(|raw| raw.repeat(30)) {
                let mut spelt = Vec::new();
                let spare = spelled(raw.as_bytes(), &mut spelt);
                assert_eq!(spelt, plain[1..plain.len() - 1].repeat(30).as_bytes(), "{raw}");
                assert_eq!(spelt.len() as u64 - spare, 30 * text.len() as u64, "{raw}");
            }
        }
    }

    #[test]
    fn half_a_pair_is_replaced() {
        for raw in [r"\ud83e", r"\udd99", r"\ud83ex", r"\ud83e\n"] {
            assert!(resolved(raw).starts_with('\u{fffd}'), "{raw}");
        }
        assert_eq!(resolved(r"\ud83e\ud83e\udd99"), "\u{fffd}🦙");
        assert_eq!(resolved(r"\udd99\ud83e"), "\u{fffd}\u{fffd}");
    }
}
