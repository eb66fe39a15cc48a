//! Names of backends and routes.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A name has at most this many characters.
pub const NAME_CHARS_MAX: usize = 63;

/// What is allowed, for messages.
pub const RULE: &str =
    "1 to 63 characters of a-z, 0-9, '-' and '.', starting and ending with a letter or digit";

/// A checked name, cheap to clone: 1 to 63 characters of a-z, 0-9, '-' and '.', starting and ending with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// The text is no name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not allowed: {RULE}")]
pub struct NameFault(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameFault`] says what is allowed.
    pub fn new(text: &str) -> Result<Self, NameFault> {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        let all = bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
        if bytes.len() <= NAME_CHARS_MAX && all && edge(bytes.first()) && edge(bytes.last()) {
            return Ok(Name(Arc::from(text)));
        }
        Err(NameFault(text.chars().take(2 * NAME_CHARS_MAX).collect()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameFault;

    fn try_from(text: String) -> Result<Self, NameFault> {
        Name::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule() {
        for good in ["a", "7", "gpu-1", "a.b-c.d", &"x".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", ".a", "a.", "A", "a_b", "a b", "ü", "a/b", &"x".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
