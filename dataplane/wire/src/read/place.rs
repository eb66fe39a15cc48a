//! Where a body holds what the model will see.

use crate::scan::{Long, Scan};

/// A part of what the model will see, one member of the body each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The system prompt, where it is no message.
    System,
    /// Definitions of tools.
    Tools,
    /// Definitions of functions, the older form of tools.
    Functions,
    /// The conversation.
    Messages,
    /// A conversation as items, or one text of the user.
    Input,
    /// One text.
    Prompt,
    /// What follows the text to be written.
    Suffix,
    /// A conversation as tokens.
    Context,
    /// Pictures that go with a prompt.
    Images,
    /// Whether the prompt goes to the model as it is.
    Raw,
}

/// Offsets of the values of these members, the last one where a member is given twice; and the long strings of the body.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Places {
    values: [u32; 10],
    pub(super) longs: Vec<Long>,
}

impl Places {
    /// The value that comes next in `scan` is that of `place`.
    pub(super) fn set(&mut self, place: Place, scan: &Scan<'_>) {
        // No value stands at 0; one beyond 4 GiB is as good as none.
        self.values[place as usize] = u32::try_from(scan.at()).unwrap_or(0);
    }

    /// A cursor before the value.
    pub(crate) fn at<'a>(&'a self, place: Place, text: &'a str) -> Option<Scan<'a>> {
        let at = self.values[place as usize] as usize;
        (at > 0 && text.is_char_boundary(at)).then(|| Scan::again(text, at, &self.longs))
    }
}
