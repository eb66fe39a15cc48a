//! Reading a tape, which may be anything.

use std::io::{self, BufRead, Read as _};

use crate::line::{End, FORMAT, Head, Line, Step};

/// One line has no more bytes.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Why a tape cannot be read on. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The system's word.
    #[error("the tape cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It does not begin as a tape does.
    #[error("this is no tape: its first line is not the head of one ({0})")]
    NoHead(String),
    /// It is of another version of this program.
    #[error(
        "this tape has format {found}, and this program reads format {FORMAT}: replay it with the version that recorded it"
    )]
    Format {
        /// Its own.
        found: u64,
    },
    /// A line has too many bytes.
    #[error("line {line}: more than {RECORD_BYTES_MAX} bytes")]
    TooLong {
        /// Which.
        line: u64,
    },
    /// The last line has no end.
    #[error("line {line}: cut off in the middle of a record")]
    Cut {
        /// Which.
        line: u64,
    },
    /// A line is no record.
    #[error("line {line}: no record of a tape: {why}")]
    Bad {
        /// Which.
        line: u64,
        /// What the parser says.
        why: String,
    },
    /// There is more behind its end, or a second head.
    #[error("line {line}: {what} is out of place here")]
    Place {
        /// Which.
        line: u64,
        /// What.
        what: &'static str,
    },
}

/// Reads a tape line by line.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    line: u64,
    buffer: Vec<u8>,
    pub(crate) head: Head,
    end: Option<End>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`TapeError`] when there is none of this format.
    pub fn new(mut from: R) -> Result<Self, TapeError> {
        let mut buffer = Vec::new();
        if !line(&mut from, &mut buffer, 1)? {
            return Err(TapeError::NoHead("it is empty".to_owned()));
        }
        // Of another format nothing but its number is known.
        let value: serde_json::Value =
            serde_json::from_slice(&buffer).map_err(|error| TapeError::NoHead(error.to_string()))?;
        match value["head"]["format"].as_u64() {
            None => return Err(TapeError::NoHead("it tells no format".to_owned())),
            Some(found) if found != u64::from(FORMAT) => return Err(TapeError::Format { found }),
            Some(_) => {}
        }
        match serde_json::from_slice(&buffer) {
            Ok(Line::Head(head)) => Ok(Reader { from, line: 1, buffer, head, end: None }),
            Ok(_) => Err(TapeError::NoHead("it is another record".to_owned())),
            Err(error) => Err(TapeError::NoHead(error.to_string())),
        }
    }

    /// The version of the software that recorded it.
    #[must_use]
    pub fn software(&self) -> &str {
        &self.head.software
    }

    /// Which line was read last.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Why it ends, once it has; none when its writer was killed, or goes on.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The next event, with the names of backends that came before it.
    pub(crate) fn step(&mut self, mut named: impl FnMut(u32, String)) -> Result<Option<Step>, TapeError> {
        while line(&mut self.from, &mut self.buffer, self.line + 1)? {
            self.line += 1;
            let line = self.line;
            if self.end.is_some() {
                return Err(TapeError::Place { line, what: "a record behind the end" });
            }
            let read = serde_json::from_slice(&self.buffer);
            match read.map_err(|error| TapeError::Bad { line, why: error.to_string() })? {
                Line::Head(_) => return Err(TapeError::Place { line, what: "a second head" }),
                Line::Names(names) => names.into_iter().for_each(|(id, name)| named(id, name)),
                Line::Step(step) => return Ok(Some(step)),
                Line::End(why) => self.end = Some(why),
            }
        }
        Ok(None)
    }
}

/// Reads one line without its end; false when there is none.
fn line(from: &mut impl BufRead, buffer: &mut Vec<u8>, number: u64) -> Result<bool, TapeError> {
    buffer.clear();
    let most = RECORD_BYTES_MAX as u64 + 1;
    from.take(most).read_until(b'\n', buffer)?;
    match buffer.pop() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) if buffer.len() >= RECORD_BYTES_MAX => Err(TapeError::TooLong { line: number }),
        Some(_) => Err(TapeError::Cut { line: number }),
    }
}
