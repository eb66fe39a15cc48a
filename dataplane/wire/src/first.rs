//! Whether an answer with status 200 starts with an error.

use crate::dialect::Operation;
use crate::frame::{EventEnd, Frames, element_json, event};
use crate::scan::{Bad, Peek, Scan};
use crate::tap::error::Told;
use crate::target::Framing;

/// A first element that is longer is content.
pub const FIRST_BYTES_MAX: usize = 64 << 10;

/// The status of an error that does not tell one.
const STATUS_UNTOLD: u16 = 502;

/// What the first element of an answer is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum First {
    /// Not known yet.
    More,
    /// Anything but an error.
    Content,
    /// An error that must become an HTTP error.
    Error {
        /// The status that fits it.
        status: u16,
        /// What the server says.
        message: String,
    },
}

/// Judges the first element from the bytes that have come so far.
pub fn first_element(_operation: Operation, framing: Framing, so_far: &[u8]) -> First {
    let bytes = so_far.strip_prefix(b"\xef\xbb\xbf").unwrap_or(so_far).trim_ascii_start();
    let found = match (framing, bytes.first()) {
        (_, None) => First::More,
        // A server that answers in one piece whatever was asked.
        (_, Some(b'{')) if framing != Framing::Lines => judge(bytes, Part::Long),
        (Framing::Whole, Some(_)) => First::Content,
        (Framing::Sse, Some(_)) => first_event(bytes),
        (Framing::Lines, Some(_)) => match memchr::memchr(b'\n', bytes) {
            Some(end) => judge(&bytes[..end], Part::All),
            None => judge(bytes, Part::Some),
        },
        (Framing::Array, Some(b'[')) => first_in_array(bytes),
        (Framing::Array, Some(_)) => First::Content,
    };
    match found {
        First::More if so_far.len() > FIRST_BYTES_MAX => First::Content,
        found => found,
    }
}

fn first_in_array(bytes: &[u8]) -> First {
    let mut first = None;
    Frames::elements().feed(bytes, |element| {
        first.get_or_insert_with(|| judge(element_json(element), Part::All));
    });
    first.unwrap_or_else(|| judge(element_json(bytes), Part::Some))
}

fn first_event(bytes: &[u8]) -> First {
    let mut ends = EventEnd::new();
    let mut rest = bytes;
    while let Some(end) = ends.end(rest) {
        let (block, behind) = rest.split_at(end);
        if let Some(event) = event(block) {
            return match judge(&event.data, Part::All) {
                First::Content if event.name == b"error" => First::Error {
                    status: STATUS_UNTOLD,
                    message: String::from_utf8_lossy(&event.data).into_owned(),
                },
                found => found,
            };
        }
        rest = behind;
    }
    First::More
}

/// Why the walk over the members stopped.
enum Stop {
    Json(Bad),
    Content,
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Self {
        Stop::Json(bad)
    }
}

/// How much of an object is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All that will ever be of it.
    All,
    /// What has come so far of a short one, which is waited for.
    Some,
    /// What has come so far of one that may be long: its first member decides.
    Long,
}

/// Judges one JSON object. What more comes of it changes no verdict.
fn judge(json: &[u8], part: Part) -> First {
    // What stands behind a torn character can change no verdict on what stands before it.
    let (text, torn) = match std::str::from_utf8(json) {
        Ok(text) => (text, part == Part::All),
        Err(error) => {
            let whole = std::str::from_utf8(&json[..error.valid_up_to()]).unwrap_or("");
            (whole, part == Part::All || error.error_len().is_some())
        }
    };
    if text.is_empty() {
        return if torn { First::Content } else { First::More };
    }
    let long = part == Part::Long;
    let mut told = Told::default();
    let mut flat = false;
    let walked = Scan::new(text).object(|scan, key| {
        let decides = matches!(key.raw, "error" | "type" | "object");
        if long && !decides && !flat && !told.is_error() {
            return Err(Stop::Content);
        }
        let kind = scan.peek()?;
        let span = scan.skip()?;
        let value = scan.slice(&span);
        match key.raw {
            "error" if kind != Peek::Null => told.read(value),
            "type" | "object" if value == "\"error\"" => flat = true,
            "message" | "code" | "status" if flat => told.read_member(key.raw, value),
            "type" | "object" if long && !told.is_error() => return Err(Stop::Content),
            _ => {}
        }
        Ok(())
    });
    let is_error = flat || told.is_error();
    match walked {
        Ok(_) if is_error => First::Error { status: told.status(STATUS_UNTOLD), message: told.message() },
        Err(Stop::Json(bad)) if !torn && bad.at == text.len() => First::More,
        _ => First::Content,
    }
}
