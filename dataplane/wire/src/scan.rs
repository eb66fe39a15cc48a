//! A strict JSON reader in one pass: spans of what is asked for, nothing built of the rest.

mod lane;
mod long;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use lane::{ESCAPE, ONLY, Run, ends, string_end};
pub(crate) use lane::{backslashes, before_backslash, plain_run, settled};
pub(crate) use long::Long;
use long::{Longs, find};

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
    /// How many escapes it has, where all have two bytes and none is that of a slash: such a string is written in the one
    /// way that there is. Of others that were not looked through it is not known.
    pub(crate) escapes: Option<u32>,
}

impl<'a> Text<'a> {
    /// The string itself; `None` where an escape is half a surrogate pair.
    pub(crate) fn decode(&self) -> Option<Cow<'a, str>> {
        if let Some(plain) = self.plain() {
            return Some(Cow::Borrowed(plain));
        }
        serde_json::from_str(&format!("\"{}\"", self.raw)).ok().map(Cow::Owned)
    }

    /// The string itself where it is written without escapes.
    pub(crate) fn plain(&self) -> Option<&'a str> {
        (self.escapes == Some(0)).then_some(self.raw)
    }

    /// The string as a key: an undecodable one equals no name.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        self.decode().unwrap_or(Cow::Borrowed(self.raw))
    }
}

/// A cursor over a JSON text; a copy of it can come back to where it stood.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Known where the text has been read before, so that its strings are in order.
    longs: Longs<'a>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Scan { text, at: 0, depth: 0, longs: Longs::New(None) }
    }

    /// The same, which tells of long strings.
    pub(crate) fn noting(text: &'a str, longs: &'a RefCell<Vec<Long>>) -> Self {
        Scan { text, at: 0, depth: 0, longs: Longs::New(Some(longs)) }
    }

    /// A cursor over a text that has been read before, in front of the value of a member of the outermost object; `longs`
    /// is what was told of it then. Escapes are not looked at again, and `bytes` of its strings are those of their
    /// escapes too.
    pub(crate) fn again(text: &'a str, at: usize, longs: &'a [Long]) -> Self {
        Scan { text, at, depth: 1, longs: Longs::known(longs, at) }
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
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text<'a>, Bad> {
        if self.next_byte() != Some(b'"') {
            return Err(self.bad("expected a string"));
        }
        let all = self.text.as_bytes();
        let start = self.at;
        // Keys and most values are short and without escapes.
        if let Some(lane) = all.get(start + 1..).and_then(<[u8]>::first_chunk::<16>) {
            let ends = ends(lane);
            let end = start + 1 + ends.trailing_zeros() as usize;
            if ends != 0 && all.get(end) == Some(&b'"') {
                self.at = end + 1;
                let raw = &self.text[start + 1..end];
                return Ok(Text { raw, span: start..self.at, bytes: raw.len() as u64, escapes: Some(0) });
            }
        }
        match self.longs {
            Longs::Known(longs) => self.known_text(start, longs),
            Longs::New(_) => self.long_text(),
        }
    }

    /// Reads a string of any length, at whose first quote the cursor stands.
    fn long_text(&mut self) -> Result<Text<'a>, Bad> {
        let all = self.text.as_bytes();
        let start = self.at;
        let mut at = start + 1;
        // Bytes of escapes beyond those that they stand for.
        let (mut spare, mut settled) = (0, true);
        loop {
            let run = Run::of(&all[at..]);
            at += run.bytes;
            spare += run.escapes;
            settled &= run.settled;
            let kind = || all.get(at + 1).map_or(0, |&letter| ESCAPE[usize::from(letter)]);
            match all.get(at) {
                Some(b'"') => break,
                Some(b'\\') if kind() != 0 => {
                    spare += 1;
                    settled &= kind() == ONLY;
                    at += 2;
                }
                byte => {
                    self.at = at;
                    match byte {
                        Some(b'\\') => {
                            spare += 6 - self.unicode()?;
                            // Where there is one, there are more.
                            while all[self.at..].starts_with(b"\\u") {
                                spare += 6 - self.unicode()?;
                            }
                            settled = false;
                        }
                        Some(_) => return Err(self.bad("control character in a string")),
                        None => return Err(self.bad("unexpected end inside a string")),
                    }
                    at = self.at;
                }
            }
        }
        self.at = at + 1;
        let raw = &self.text[start + 1..at];
        let escapes = u32::try_from(spare).ok().filter(|_| settled);
        self.longs.note(start, at, escapes);
        Ok(Text { raw, span: start..self.at, bytes: raw.len() as u64 - spare, escapes })
    }

    fn known_text(&mut self, start: usize, mut longs: &'a [Long]) -> Result<Text<'a>, Bad> {
        let rest = &self.text.as_bytes()[start + 1..];
        let long = find(&mut longs, start).map(|long| (long.end as usize - start - 1, long.escapes));
        self.longs = Longs::Known(longs);
        let looked = || string_end(rest).map(|(length, escaped)| (length, (!escaped).then_some(0)));
        let long = long.filter(|(length, _)| rest.get(*length) == Some(&b'"'));
        let Some((length, escapes)) = long.or_else(looked) else { return Err(self.torn()) };
        self.at = start + length + 2;
        let raw = &self.text[start + 1..self.at - 1];
        Ok(Text { raw, span: start..self.at, bytes: length as u64, escapes })
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

    /// Passes over an escape of six characters and says how many bytes it stands for.
    fn unicode(&mut self) -> Result<u64, Bad> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1) {
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

#[cfg(test)]
mod tests;
