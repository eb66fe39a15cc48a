//! Where the long strings of a text are, so that who reads it again need not look for their ends.

use std::cell::RefCell;

/// Strings of fewer bytes are not worth a note.
const LONG_BYTES_MIN: usize = 256;
/// Notes of one text.
const LONGS_MAX: usize = 1024;

/// A string literal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Long {
    /// Of its quotes.
    pub(super) start: u32,
    pub(super) end: u32,
    /// As of a text.
    pub(super) escapes: Option<u32>,
}

/// What a cursor knows of long strings.
#[derive(Clone, Copy)]
pub(super) enum Longs<'a> {
    /// Nothing: the text is read for the first time, and they go in here if anywhere.
    New(Option<&'a RefCell<Vec<Long>>>),
    /// Those from the cursor on.
    Known(&'a [Long]),
}

impl<'a> Longs<'a> {
    /// Those of a text that has been read before, from an offset on.
    pub(super) fn known(all: &'a [Long], at: usize) -> Self {
        Longs::Known(&all[all.partition_point(|long| (long.start as usize) < at)..])
    }

    /// Takes note of a string, once where it is read again at once.
    pub(super) fn note(self, start: usize, end: usize, escapes: Option<u32>) {
        if end - start < LONG_BYTES_MIN {
            return;
        }
        if let (Longs::New(Some(notes)), Ok(start), Ok(end)) =
            (self, u32::try_from(start), u32::try_from(end))
            && let mut notes = notes.borrow_mut()
            && notes.len() < LONGS_MAX
            && notes.last().is_none_or(|last| last.start < start)
        {
            notes.push(Long { start, end, escapes });
        }
    }
}

/// The one whose first quote stands at `start`, of those from an earlier offset on.
pub(super) fn find(longs: &mut &[Long], start: usize) -> Option<Long> {
    while let Some((long, behind)) = longs.split_first() {
        if long.start as usize >= start {
            return Some(*long).filter(|long| long.start as usize == start);
        }
        *longs = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Bad, Scan};

    /// Every string of a list of lists of strings, and whether it has escapes.
    fn strings<'a>(mut scan: Scan<'a>) -> Vec<(&'a str, bool)> {
        let mut found = Vec::new();
        let read = scan.array::<Bad>(|scan| {
            // one that is passed over first, as the values of members are
            let mut again = *scan;
            scan.pass::<Bad>()?;
            again.array::<Bad>(|scan| {
                let text = scan.text()?;
                found.push((text.raw, text.plain().is_none()));
                Ok(())
            })?;
            Ok(())
        });
        assert!(read.is_ok());
        found
    }

    #[test]
    fn strings_are_the_same_with_and_without_notes() {
        let text = |length: usize| match length % 3 {
            0 => "x".repeat(length),
            1 => format!("{}\\\"\\\\", "y".repeat(length)),
            _ => format!("\\n{}\\u00fc", "z".repeat(length)),
        };
        let list = |from: usize| {
            (from..from + 60).map(|length| format!("\"{}\"", text(length * 7))).collect::<Vec<_>>()
        };
        let lists = (0..60).map(|from| format!("[{}]", list(from).join(",")));
        let body = format!("[{}]", lists.collect::<Vec<_>>().join(" , "));
        let notes = RefCell::default();
        let first = strings(Scan::noting(&body, &notes));
        let notes: Vec<Long> = notes.take();
        assert_eq!(notes.len(), LONGS_MAX);
        let without = strings(Scan::again(&body, 0, &[]));
        assert_eq!(strings(Scan::again(&body, 0, &notes)), without);
        assert_eq!(first, without);
    }
}
