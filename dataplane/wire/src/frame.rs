//! Cuts passing bytes into elements: events, lines, elements of one array. Whole ones are read in place.

use std::borrow::Cow;

/// An element has at most this many bytes; a longer one is passed over and flagged.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Where the cut elements of a stream end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    /// Server-sent events end at an empty line.
    Events,
    /// Lines end at a line feed.
    Lines,
    /// The elements of an array end at their own last bracket, a comma, or the closing bracket.
    Elements,
}

/// Cuts a stream of bytes into elements.
#[derive(Debug)]
pub struct Frames {
    cut: Cut,
    held: Vec<u8>,
    skipping: bool,
    skipped: u64,
    event: EventEnd,
    array: Array,
}

/// Finds the empty lines that end events, over the borders of chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventEnd {
    line_empty: bool,
    after_cr: bool,
}

/// Where in the array the next byte stands.
#[derive(Clone, Copy, Default, Debug)]
struct Array {
    depth: u32,
    text: bool,
    escape: bool,
    open: bool,
    closed: bool,
}

impl Frames {
    /// Server-sent events: each element is an event with its empty line.
    pub fn events() -> Self {
        Frames::new(Cut::Events)
    }

    /// One JSON value a line.
    pub fn lines() -> Self {
        Frames::new(Cut::Lines)
    }

    /// The elements of one JSON array.
    pub fn elements() -> Self {
        Frames::new(Cut::Elements)
    }

    fn new(cut: Cut) -> Self {
        Frames {
            cut,
            held: Vec::new(),
            skipping: false,
            skipped: 0,
            event: EventEnd::new(),
            array: Array::default(),
        }
    }

    /// Takes a chunk and gives out each element that ends in it.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = chunk;
        while let Some(end) = self.end(rest) {
            let (last, behind) = rest.split_at(end);
            self.give(last, &mut each);
            rest = behind;
        }
        self.hold(rest);
    }

    /// The stream has ended: gives out what has no end of its own. An unfinished element of an array is none.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if self.cut != Cut::Elements && !self.held.is_empty() {
            self.give(&[], &mut each);
        }
    }

    /// Elements passed over because they were longer than [`FRAME_BYTES_MAX`].
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether the array has been closed.
    pub fn closed(&self) -> bool {
        self.array.closed
    }

    fn give(&mut self, last: &[u8], each: &mut impl FnMut(&[u8])) {
        if self.skipping {
            self.skipping = false;
            self.skipped += 1;
        } else if self.held.is_empty() {
            each(last);
        } else {
            self.held.extend_from_slice(last);
            each(&self.held);
        }
        self.held.clear();
        if self.held.capacity() > HELD_BYTES_KEPT {
            self.held = Vec::new();
        }
    }

    fn hold(&mut self, rest: &[u8]) {
        if self.skipping {
            return;
        }
        if self.held.len() + rest.len() > FRAME_BYTES_MAX {
            self.held = Vec::new();
            self.skipping = true;
        } else {
            self.held.extend_from_slice(rest);
        }
    }

    /// The offset behind the end of the current element, if it ends in these bytes.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.cut {
            Cut::Events => self.event.end(bytes),
            Cut::Lines => memchr::memchr(b'\n', bytes).map(|at| at + 1),
            Cut::Elements => self.array.element_end(bytes),
        }
    }
}

impl EventEnd {
    pub(crate) fn new() -> Self {
        EventEnd { line_empty: true, after_cr: false }
    }

    /// Whether the bytes start with the second half of a CR LF that the bytes before them began.
    pub(crate) fn take_lf(&mut self, bytes: &[u8]) -> bool {
        match bytes.first() {
            None => false,
            Some(first) => std::mem::take(&mut self.after_cr) && *first == b'\n',
        }
    }

    /// The offset behind the empty line that ends the current event, if it is in these bytes.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = usize::from(self.take_lf(bytes));
        while at < bytes.len() {
            let Some(offset) = memchr::memchr2(b'\n', b'\r', &bytes[at..]) else {
                self.line_empty = false;
                return None;
            };
            let empty = self.line_empty && offset == 0;
            at += offset + 1;
            self.line_empty = true;
            if bytes[at - 1] == b'\r' {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if empty {
                return Some(at);
            }
        }
        None
    }
}

/// A buffer that has grown beyond this is given back after its element.
const HELD_BYTES_KEPT: usize = 64 << 10;

impl Array {
    fn element_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.text {
                at += self.text_end(&bytes[at..]);
                continue;
            }
            let byte = bytes[at];
            at += 1;
            match byte {
                b'"' => self.text = true,
                b'[' if !self.open => self.open = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                b']' if self.open && !self.closed => {
                    self.closed = true;
                    return Some(at);
                }
                b',' if self.depth == 0 => return Some(at),
                _ => {}
            }
        }
        None
    }

    /// Bytes up to the end of the string, or all of them.
    fn text_end(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.escape {
                self.escape = false;
                at += 1;
                continue;
            }
            let Some(offset) = memchr::memchr2(b'"', b'\\', &bytes[at..]) else { return bytes.len() };
            at += offset + 1;
            if bytes[at - 1] == b'"' {
                self.text = false;
                return at;
            }
            self.escape = true;
        }
        at
    }
}

/// The JSON inside an element of an array: without the brackets and commas around it.
pub fn element_json(element: &[u8]) -> &[u8] {
    let mut inner = element.trim_ascii();
    if let [b'[' | b',', rest @ ..] = inner {
        inner = rest.trim_ascii();
    }
    match inner {
        [rest @ .., b','] => rest.trim_ascii(),
        [b']'] => &[],
        _ => inner,
    }
}

/// A server-sent event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// Its name; empty where none is given.
    pub name: &'a [u8],
    /// Its data; several lines are joined by line feeds.
    pub data: Cow<'a, [u8]>,
}

/// Reads one cut event; `None` where it carries no data (a comment, a keep-alive).
pub fn event(block: &[u8]) -> Option<Event<'_>> {
    // The second half of a CR LF that was cut apart belongs to the event before.
    let block = block.strip_prefix(b"\n").unwrap_or(block);
    let block = block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block);
    let mut name: &[u8] = b"";
    let mut data: Option<Cow<'_, [u8]>> = None;
    for line in lines(block) {
        if let Some(value) = line.strip_prefix(b"data") {
            let Some(value) = value_of(value) else { continue };
            match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(lines) => {
                    let lines = lines.to_mut();
                    lines.push(b'\n');
                    lines.extend_from_slice(value);
                }
            }
        } else if let Some(value) = line.strip_prefix(b"event").and_then(value_of) {
            name = value;
        }
    }
    data.map(|data| Event { name, data })
}

fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr::memchr2_iter(b'\n', b'\r', block).chain(std::iter::once(block.len()));
    ends.map(move |end| {
        let line = &block[start..end];
        start = end + 1;
        line
    })
}

/// The value behind a field's name: after a colon and at most one blank.
fn value_of(behind: &[u8]) -> Option<&[u8]> {
    match behind {
        [] => Some(behind),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}
