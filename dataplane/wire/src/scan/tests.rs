//! Strings read in blocks as they are read a byte at a time.

use super::Scan;

/// As [`Scan::text`] reads it, a byte at a time: where the string ends and the bytes that it stands for.
fn slowly(text: &[u8]) -> Result<(usize, u64), usize> {
    let (mut at, mut bytes) = (1, 0);
    loop {
        match text.get(at) {
            Some(b'"') => return Ok((at + 1, bytes)),
            Some(b'\\') if text.get(at + 1).is_some_and(|byte| b"\"\\/bfnrt".contains(byte)) => at += 2,
            Some(b'\\') if is_unicode(&text[at + 1..]) => at += 6,
            Some(b'\\' | 0..0x20) => return Err(at),
            None => return Err(at),
            Some(_) => at += 1,
        }
        bytes += 1;
    }
}

fn is_unicode(text: &[u8]) -> bool {
    text.first() == Some(&b'u')
        && text.get(1..5).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn check(text: &[u8]) {
    let text = std::str::from_utf8(text).unwrap();
    let read = Scan::new(text).text().map(|text| (text.span.end, text.bytes));
    match (read, slowly(text.as_bytes())) {
        (Ok(read), slowly) => assert_eq!(Ok(read), slowly, "{text:?}"),
        (Err(bad), Err(at)) => {
            // A torn escape is faulted at the end of the text.
            assert!(bad.at == at || bad.at == text.len(), "{text:?} at {}, not {at}", bad.at);
        }
        (Err(bad), slowly) => panic!("{text:?}: {bad:?}, not {slowly:?}"),
    }
}

#[test]
fn every_byte_at_every_place() {
    for byte in 0..0x80 {
        for at in 1..72 {
            for next in [b'a', b'"', b'\\', b'n', b'x', b'\n'] {
                let mut bytes = [b'a'; 72];
                bytes[0] = b'"';
                bytes[71] = b'"';
                bytes[at] = byte;
                if let Some(behind) = bytes.get_mut(at + 1) {
                    *behind = next;
                }
                check(&bytes);
                check(&bytes[..71]);
            }
        }
    }
}

#[test]
fn escapes_in_a_row_over_the_ends_of_blocks() {
    for lead in 0..70 {
        for escape in [r"\n", r"\\", r#"\""#, r"\u0041", r"\\\n", r"\q", r"\u00"] {
            for count in 1..24 {
                let text = format!("\"{}{}", "a".repeat(lead), escape.repeat(count));
                check(text.as_bytes());
                check(format!("{text}\"").as_bytes());
                check(format!("{text}{}\" behind", "z".repeat(lead)).as_bytes());
            }
        }
    }
}
