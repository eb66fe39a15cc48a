//! An answer in one piece: whether it is whole, and the few members that matter, without keeping it.

use crate::scan::{Bad, Peek, Scan};

/// A captured value has at most this many bytes; a longer one is passed over.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// A key of interest has at most this many bytes.
const KEY_BYTES_MAX: usize = 32;

/// Keys are looked for in objects no deeper than this.
const KEY_DEPTH_MAX: u32 = 3;

/// A member to be captured: how many brackets are open around it, and its key.
pub(super) type Leaf = (u32, &'static str);

/// Walks over a JSON text that comes in chunks.
#[derive(Debug)]
pub(super) struct Whole {
    leaves: &'static [Leaf],
    depth: u32,
    /// Which of the open brackets are of objects; bit 0 is the outermost. Deeper ones than 64 do not matter.
    objects: u64,
    text: bool,
    escape: bool,
    key_next: bool,
    in_key: bool,
    key: Vec<u8>,
    /// The leaf whose value is passing.
    leaf: Option<Leaf>,
    value: Vec<u8>,
    /// More than blanks came: what follows is no whole answer by itself.
    begun: bool,
    complete: bool,
    harmless: bool,
}

/// What the strict pass finds.
#[derive(Default)]
struct Seen<'a> {
    leaves: Vec<(&'static str, &'a str)>,
    /// It may be an error.
    suspect: bool,
}

impl Whole {
    pub(super) fn new(leaves: &'static [Leaf]) -> Self {
        Whole {
            leaves,
            depth: 0,
            objects: 0,
            text: false,
            escape: false,
            key_next: false,
            in_key: false,
            key: Vec::new(),
            leaf: None,
            value: Vec::new(),
            begun: false,
            complete: false,
            harmless: false,
        }
    }

    /// Whether the outermost bracket has been closed.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// Whether all of it was read at once and nothing in it says that it is an error.
    pub(super) fn harmless(&self) -> bool {
        self.harmless
    }

    /// Takes a chunk; `found` gets each captured key and value.
    pub(super) fn feed(&mut self, chunk: &[u8], mut found: impl FnMut(&'static str, &str)) {
        let begun = self.begun;
        self.begun |= !chunk.trim_ascii_start().is_empty();
        if !begun && let Some(seen) = self.at_once(chunk) {
            for (key, value) in seen.leaves {
                found(key, value);
            }
            self.complete = true;
            self.harmless = !seen.suspect;
            return;
        }
        let mut at = 0;
        while at < chunk.len() && !self.complete {
            let start = at;
            if self.text {
                at += self.pass_text(&chunk[at..]);
            } else if let Some(run) = self.plain(&chunk[at..]) {
                at += run;
            } else {
                at += 1;
                self.structure(chunk[start], &mut found);
            }
            if self.leaf.is_some() {
                self.capture(&chunk[start..at]);
            }
        }
    }

    /// The whole of a short answer in its first chunk, as most come: one strict pass, at a fraction of the cost. What
    /// does not pass is left to the walk that bears everything.
    fn at_once<'a>(&self, chunk: &'a [u8]) -> Option<Seen<'a>> {
        let chunk = chunk.trim_ascii();
        if !chunk.starts_with(b"{") || !chunk.ends_with(b"}") {
            return None;
        }
        let text = simdutf8::basic::from_utf8(chunk).ok()?;
        let mut seen = Seen::default();
        let mut scan = Scan::new(text);
        self.object(&mut scan, 1, &mut seen).ok()?;
        scan.end().ok()?;
        Some(seen)
    }

    fn object<'a>(&self, scan: &mut Scan<'a>, depth: u32, seen: &mut Seen<'a>) -> Result<(), Bad> {
        scan.object(|scan, key| {
            scan.peek()?;
            let start = scan.at();
            match self.leaves.iter().find(|(at, name)| *at == depth && *name == key.raw) {
                None => self.value(scan, depth, seen)?,
                Some((_, name)) => {
                    let span = scan.skip()?;
                    if span.len() <= VALUE_BYTES_MAX {
                        seen.leaves.push((*name, scan.slice(&span)));
                    }
                }
            }
            if depth == 1 {
                seen.suspect |= match key.raw {
                    "error" => true,
                    "type" | "object" => scan.slice(&(start..scan.at())) == "\"error\"",
                    _ => false,
                };
            }
            Ok(())
        })?;
        Ok(())
    }

    fn value<'a>(&self, scan: &mut Scan<'a>, depth: u32, seen: &mut Seen<'a>) -> Result<(), Bad> {
        match scan.peek()? {
            Peek::Object if depth < KEY_DEPTH_MAX => self.object(scan, depth + 1, seen),
            Peek::Array if depth < KEY_DEPTH_MAX => {
                scan.array(|scan| self.value(scan, depth + 1, seen)).map(|_| ())
            }
            _ => scan.pass(),
        }
    }

    /// Bytes that change nothing: inside an array, and deeper than any key of interest, only quotes and brackets
    /// do. `None` where there are none.
    fn plain(&self, bytes: &[u8]) -> Option<usize> {
        if self.depth <= KEY_DEPTH_MAX && (self.depth == 0 || self.in_object()) {
            return None;
        }
        let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'));
        Some(end.unwrap_or(bytes.len())).filter(|&run| run > 0)
    }

    fn in_object(&self) -> bool {
        (1..=64).contains(&self.depth) && self.objects >> (self.depth - 1) & 1 == 1
    }

    fn pass_text(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.text {
            if self.escape {
                self.escape = false;
                at += 1;
                continue;
            }
            let run = memchr::memchr2(b'"', b'\\', &bytes[at..]);
            let end = run.map_or(bytes.len(), |run| at + run);
            if self.in_key && self.key.len() <= KEY_BYTES_MAX {
                let room = KEY_BYTES_MAX + 1 - self.key.len();
                self.key.extend_from_slice(&bytes[at..end.min(at + room)]);
            }
            at = end;
            match bytes.get(at) {
                Some(b'"') => {
                    self.text = false;
                    at += 1;
                }
                Some(_) => {
                    // A key with an escape in it is none of ours.
                    self.key.clear();
                    self.in_key = false;
                    self.escape = true;
                    at += 1;
                }
                None => {}
            }
        }
        at
    }

    fn structure(&mut self, byte: u8, found: &mut impl FnMut(&'static str, &str)) {
        match byte {
            b'"' => {
                self.text = true;
                self.in_key = self.key_next && self.depth <= KEY_DEPTH_MAX && self.leaf.is_none();
                self.key.clear();
            }
            b':' if self.key_next => {
                self.key_next = false;
                if self.in_key {
                    self.in_key = false;
                    let key = self.key.as_slice();
                    self.leaf = self
                        .leaves
                        .iter()
                        .find(|(depth, name)| *depth == self.depth && name.as_bytes() == key)
                        .copied();
                    self.value.clear();
                }
            }
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth <= 64 {
                    let bit = 1_u64 << (self.depth - 1);
                    self.objects = if byte == b'{' { self.objects | bit } else { self.objects & !bit };
                }
                self.key_next = byte == b'{';
            }
            b'}' | b']' => {
                self.end_value(found);
                self.depth = self.depth.saturating_sub(1);
                self.complete = self.depth == 0;
            }
            b',' => {
                self.end_value(found);
                self.key_next = self.in_object();
            }
            _ => {}
        }
    }

    /// A comma or bracket ends the captured value where it stands beside its key.
    fn end_value(&mut self, found: &mut impl FnMut(&'static str, &str)) {
        let Some((depth, key)) = self.leaf else { return };
        if depth != self.depth {
            return;
        }
        self.leaf = None;
        // The colon has been captured too.
        if let Ok(value) = std::str::from_utf8(&self.value) {
            found(key, value.trim_start_matches(':').trim_ascii());
        }
        self.value = Vec::new();
    }

    fn capture(&mut self, bytes: &[u8]) {
        if self.value.len() + bytes.len() > VALUE_BYTES_MAX {
            self.leaf = None;
            self.value = Vec::new();
        } else {
            self.value.extend_from_slice(bytes);
        }
    }
}
