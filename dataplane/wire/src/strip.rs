//! Takes the usage chunk out of a stream whose client did not ask for it.

use bytes::Bytes;

use crate::frame::{EventEnd, event};
use crate::scan::{Bad, Peek, Scan};

/// A longer event is no usage chunk and is not held back.
pub const USAGE_EVENT_BYTES_MAX: usize = 64 << 10;

/// Takes out events with empty `choices` and a `usage`; all else passes as it came.
///
/// An event that is spread over chunks is held back until its end; nothing is copied but such an event, to
/// judge it.
#[derive(Debug)]
pub struct UsageStrip {
    ends: EventEnd,
    held: Vec<Bytes>,
    held_bytes: usize,
    /// The current event is too long to be judged.
    passing: bool,
    /// The last event was taken out, and so is the second half of its CR LF.
    dropped: bool,
}

impl Default for UsageStrip {
    fn default() -> Self {
        UsageStrip::new()
    }
}

impl UsageStrip {
    /// A strip for one stream.
    pub fn new() -> Self {
        UsageStrip { ends: EventEnd::new(), held: Vec::new(), held_bytes: 0, passing: false, dropped: false }
    }

    /// Takes a chunk and gives out what may pass.
    pub fn feed(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) {
        // The first byte that may pass and is not given out yet, and the start of the current event.
        let mut pass = 0;
        let mut start = 0;
        let between = self.held.is_empty() && !self.passing;
        if between && self.ends.take_lf(&chunk) {
            start = 1;
            pass = usize::from(self.dropped);
        }
        while let Some(length) = self.ends.end(&chunk[start..]) {
            let end = start + length;
            self.dropped = self.is_usage(&chunk[start..end]);
            if self.dropped {
                give(&chunk, pass, start, out);
                pass = end;
                self.held.clear();
            } else {
                out.append(&mut self.held);
            }
            self.held_bytes = 0;
            self.passing = false;
            start = end;
        }
        self.keep_tail(&chunk, pass, start, out);
    }

    /// The stream has ended: gives out what is held.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        if !self.held.is_empty() && self.is_usage(&[]) {
            self.held.clear();
        }
        out.append(&mut self.held);
        self.held_bytes = 0;
    }

    fn keep_tail(&mut self, chunk: &Bytes, pass: usize, start: usize, out: &mut Vec<Bytes>) {
        if start == chunk.len() || self.passing {
            return give(chunk, pass, chunk.len(), out);
        }
        give(chunk, pass, start, out);
        self.held_bytes += chunk.len() - start;
        self.held.push(chunk.slice(start..));
        if self.held_bytes > USAGE_EVENT_BYTES_MAX {
            out.append(&mut self.held);
            self.passing = true;
        }
    }

    fn is_usage(&self, last: &[u8]) -> bool {
        if self.passing || self.held_bytes + last.len() > USAGE_EVENT_BYTES_MAX {
            return false;
        }
        if self.held.is_empty() {
            return is_usage(last);
        }
        let mut whole = Vec::with_capacity(self.held_bytes + last.len());
        self.held.iter().for_each(|part| whole.extend_from_slice(part));
        whole.extend_from_slice(last);
        is_usage(&whole)
    }
}

fn give(chunk: &Bytes, from: usize, to: usize, out: &mut Vec<Bytes>) {
    if from < to {
        out.push(chunk.slice(from..to));
    }
}

const KEY: &[u8] = b"\"usage\"";

fn opens_object(behind_key: &[u8]) -> bool {
    let mut rest = behind_key.iter().filter(|byte| !byte.is_ascii_whitespace());
    rest.next() == Some(&b':') && rest.next() == Some(&b'{')
}

fn is_usage(block: &[u8]) -> bool {
    // Most events have no usage or a null one.
    if !memchr::memmem::find_iter(block, KEY).any(|at| opens_object(&block[at + KEY.len()..])) {
        return false;
    }
    let Some(event) = event(block) else { return false };
    let Ok(text) = std::str::from_utf8(&event.data) else { return false };
    let mut empty_choices = false;
    let mut usage = false;
    let read = Scan::new(text).object::<Bad>(|scan, key| {
        let kind = scan.peek()?;
        let span = scan.skip()?;
        match key.raw {
            "choices" => empty_choices = kind == Peek::Array && is_empty_array(scan.slice(&span)),
            "usage" => usage = kind == Peek::Object,
            _ => {}
        }
        Ok(())
    });
    read.is_ok() && empty_choices && usage
}

fn is_empty_array(literal: &str) -> bool {
    literal.trim_matches(['[', ']']).trim_ascii().is_empty()
}
