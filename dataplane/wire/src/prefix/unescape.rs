//! Strings of JSON with their escapes resolved, in pieces, so that none is built.

use crate::scan::before_backslash;

/// What is gathered before it is handed on, and how much of a string is looked at and copied at a time.
const GATHERED_BYTES: usize = 512;
const LANE_BYTES: usize = 16;
/// A lane or a character fits behind so many.
const FILLED_MAX: usize = GATHERED_BYTES - 2 * LANE_BYTES;

/// Half of a surrogate pair is read as this, as most servers do.
const LONE: char = char::REPLACEMENT_CHARACTER;

/// Calls `take` with the pieces of a string that has passed the scanner, quotes left out.
pub(super) fn pieces<E>(raw: &str, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut rest = raw.as_bytes();
    let mut gathered = [0; GATHERED_BYTES];
    let mut filled = 0;
    while let Some(lane) = rest.first_chunk() {
        if filled > FILLED_MAX {
            take(&gathered[..filled])?;
            filled = 0;
        }
        // All of the lane, so that the length is no branch; what is too much is written over.
        gathered[filled..filled + LANE_BYTES].copy_from_slice(lane);
        let run = before_backslash(lane);
        filled += run;
        if run == LANE_BYTES {
            rest = &rest[LANE_BYTES..];
        } else {
            rest = character(&rest[run..], &mut gathered, &mut filled);
        }
    }
    while let Some((&byte, behind)) = rest.split_first() {
        if filled > FILLED_MAX {
            take(&gathered[..filled])?;
            filled = 0;
        }
        if byte == b'\\' {
            rest = character(rest, &mut gathered, &mut filled);
        } else {
            gathered[filled] = byte;
            filled += 1;
            rest = behind;
        }
    }
    take(&gathered[..filled])
}

/// Adds what the escape at the start of `rest` stands for; the answer is what is behind it.
#[inline(always)]
fn character<'a>(rest: &'a [u8], gathered: &mut [u8; GATHERED_BYTES], filled: &mut usize) -> &'a [u8] {
    if let [_, letter, behind @ ..] = rest
        && SIMPLE[usize::from(*letter)] != 0
    {
        gathered[*filled] = SIMPLE[usize::from(*letter)];
        *filled += 1;
        return behind;
    }
    let (one, length) = unicode(rest);
    *filled += one.encode_utf8(&mut gathered[*filled..]).len();
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
    use super::pieces;

    fn resolved(raw: &str) -> String {
        let mut bytes = Vec::new();
        let taken = pieces::<()>(raw, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(taken, Ok(()));
        String::from_utf8(bytes).unwrap()
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
    fn half_a_pair_is_replaced() {
        for raw in [r"\ud83e", r"\udd99", r"\ud83ex", r"\ud83e\n"] {
            assert!(resolved(raw).starts_with('\u{fffd}'), "{raw}");
        }
        assert_eq!(resolved(r"\ud83e\ud83e\udd99"), "\u{fffd}🦙");
        assert_eq!(resolved(r"\udd99\ud83e"), "\u{fffd}\u{fffd}");
    }
}
