//! A strict JSON reader in one pass: spans of what is asked for, nothing built of the rest.

use std::borrow::Cow;
use std::ops::Range;

/// Objects and arrays inside each other at most.
pub(crate) const DEPTH_MAX: u32 = 128;

/// What is wrong with the text and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bad {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// What kind of value comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peek {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

/// A string literal.
#[derive(Clone, Debug)]
pub(crate) struct Text<'a> {
    /// Where it stands, quotes included.
    pub(crate) span: Range<usize>,
    /// Between the quotes, escapes as written.
    pub(crate) raw: &'a str,
    /// Bytes once the escapes are resolved.
    pub(crate) bytes: u64,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The string itself; `None` where an escape is half a surrogate pair.
    pub(crate) fn decode(&self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return Some(Cow::Borrowed(self.raw));
        }
        serde_json::from_str(&format!("\"{}\"", self.raw)).ok().map(Cow::Owned)
    }

    /// The string as a key: an undecodable one equals no name.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        self.decode().unwrap_or(Cow::Borrowed(self.raw))
    }
}

/// A cursor over a JSON text.
pub(crate) struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Scan { text, at: 0, depth: 0 }
    }

    /// The offset of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The text between two offsets that this cursor has given out.
    pub(crate) fn slice(&self, span: &Range<usize>) -> &'a str {
        &self.text[span.clone()]
    }

    /// The kind of the next value.
    pub(crate) fn peek(&mut self) -> Result<Peek, Bad> {
        match self.next_byte() {
            Some(b'{') => Ok(Peek::Object),
            Some(b'[') => Ok(Peek::Array),
            Some(b'"') => Ok(Peek::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Peek::Number),
            Some(b't' | b'f') => Ok(Peek::Bool),
            Some(b'n') => Ok(Peek::Null),
            Some(_) => Err(self.bad("expected a value")),
            None => Err(self.bad("unexpected end, expected a value")),
        }
    }

    /// Passes over one value and says where it stood.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, Bad> {
        match self.peek()? {
            Peek::Object => self.object(|scan, _| scan.pass::<Bad>()),
            Peek::Array => self.array(|scan| scan.pass::<Bad>()),
            Peek::Text => self.text().map(|text| text.span),
            Peek::Number => self.number(),
            Peek::Bool | Peek::Null => self.literal(),
        }
    }

    /// Passes over one value.
    pub(crate) fn pass<E: From<Bad>>(&mut self) -> Result<(), E> {
        self.skip()?;
        Ok(())
    }

    /// Reads a string.
    pub(crate) fn text(&mut self) -> Result<Text<'a>, Bad> {
        if self.next_byte() != Some(b'"') {
            return Err(self.bad("expected a string"));
        }
        let start = self.at;
        let mut bytes = 0;
        let mut escaped = false;
        self.at += 1;
        loop {
            let run = plain_run(&self.text.as_bytes()[self.at..]);
            bytes += run as u64;
            self.at += run;
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    bytes += self.escape()?;
                }
                Some(_) => return Err(self.bad("control character in a string")),
                None => return Err(self.bad("unexpected end inside a string")),
            }
        }
        self.at += 1;
        let span = start..self.at;
        Ok(Text { raw: &self.text[start + 1..self.at - 1], span, bytes, escaped })
    }

    /// Reads an object; `member` is called behind each key and must pass over its value.
    pub(crate) fn object<E: From<Bad>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        let start = self.open(b'{', "expected `{`")?;
        if self.next_byte() == Some(b'}') {
            return Ok(self.close(start));
        }
        loop {
            if self.next_byte() != Some(b'"') {
                return Err(self.bad("expected a key in quotes").into());
            }
            let key = self.text()?;
            if self.next_byte() != Some(b':') {
                return Err(self.bad("expected `:`").into());
            }
            self.at += 1;
            member(self, key)?;
            match self.next_byte() {
                Some(b',') => self.at += 1,
                Some(b'}') => return Ok(self.close(start)),
                Some(_) => return Err(self.bad("expected `,` or `}`").into()),
                None => return Err(self.bad("unexpected end inside an object").into()),
            }
        }
    }

    /// Reads an array; `element` is called before each value and must pass over it.
    pub(crate) fn array<E: From<Bad>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        let start = self.open(b'[', "expected `[`")?;
        if self.next_byte() == Some(b']') {
            return Ok(self.close(start));
        }
        loop {
            self.next_byte();
            element(self)?;
            match self.next_byte() {
                Some(b',') => self.at += 1,
                Some(b']') => return Ok(self.close(start)),
                Some(_) => return Err(self.bad("expected `,` or `]`").into()),
                None => return Err(self.bad("unexpected end inside an array").into()),
            }
        }
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), Bad> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.bad("text behind the value")),
        }
    }

    fn open(&mut self, bracket: u8, what: &'static str) -> Result<usize, Bad> {
        if self.next_byte() != Some(bracket) {
            return Err(self.bad(what));
        }
        if self.depth == DEPTH_MAX {
            return Err(self.bad("nested deeper than 128"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(self.at - 1)
    }

    fn close(&mut self, start: usize) -> Range<usize> {
        self.depth -= 1;
        self.at += 1;
        start..self.at
    }

    fn next_byte(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn bad(&self, what: &'static str) -> Bad {
        Bad { at: self.at, what }
    }

    fn escape(&mut self) -> Result<u64, Bad> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(1)
            }
            Some(b'u') => {
                let mut unit = 0_u32;
                for offset in 2..6 {
                    let Some(&byte) = bytes.get(self.at + offset) else { return Err(self.torn()) };
                    let Some(digit) = char::from(byte).to_digit(16) else {
                        return Err(self.bad("expected four hexadecimal digits behind `\\u`"));
                    };
                    unit = unit * 16 + digit;
                }
                self.at += 6;
                Ok(match unit {
                    0..=0x7f => 1,
                    // Half of a surrogate pair: two of the four bytes that the pair makes.
                    0x80..=0x7ff | 0xd800..=0xdfff => 2,
                    _ => 3,
                })
            }
            Some(_) => Err(self.bad("unknown escape in a string")),
            None => Err(self.torn()),
        }
    }

    fn number(&mut self) -> Result<Range<usize>, Bad> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.bad("expected a digit")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(start..self.at)
    }

    fn digits(&mut self) -> Result<(), Bad> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.bad("expected a digit")) } else { Ok(()) }
    }

    fn literal(&mut self) -> Result<Range<usize>, Bad> {
        let rest = &self.text.as_bytes()[self.at..];
        for word in ["true", "false", "null"] {
            if rest.starts_with(word.as_bytes()) {
                let start = self.at;
                self.at += word.len();
                return Ok(start..self.at);
            }
            if word.as_bytes().starts_with(rest) {
                return Err(self.torn());
            }
        }
        Err(self.bad("expected a value"))
    }

    /// The text ends inside of an escape or a word: more of it may come, so the fault is at its end.
    fn torn(&self) -> Bad {
        Bad { at: self.text.len(), what: "unexpected end inside a value" }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Bytes before the first quote, backslash or control character, eight at a time.
fn plain_run(bytes: &[u8]) -> usize {
    let (eights, tail) = bytes.as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        // With this bit turned, the quote comes to stand right behind the control characters. A borrow spoils
        // only bytes above a true hit, and the lowest one counts.
        let quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
        let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
        let hit = (quote_or_control | backslash) & !word & HIGH;
        if hit != 0 {
            return index * 8 + (hit.trailing_zeros() / 8) as usize;
        }
    }
    let ends = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    bytes.len() - tail.len() + tail.iter().position(ends).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::plain_run;

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[at] = byte;
                let ends = byte == b'"' || byte == b'\\' || byte < 0x20;
                assert_eq!(plain_run(&bytes), if ends { at } else { 20 }, "{byte:#x} at {at}");
                bytes[19] = b'"';
                let expected = if ends { at } else { 19 };
                assert_eq!(plain_run(&bytes), expected, "{byte:#x} at {at}, then a quote");
            }
        }
    }
}
