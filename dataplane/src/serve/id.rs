//! What a request is known by: in every answer, log line and error of ours.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use http::HeaderValue;

/// A number that this data plane gave out, as `req_PREFIXNUMBER`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestId {
    header: HeaderValue,
    number: u64,
}

impl RequestId {
    /// The id of request `number`; `prefix` is what a header may hold. Numbers repeat after four billion.
    #[must_use]
    pub fn new(prefix: &str, number: u64) -> Self {
        const HEAD: &[u8] = b"req_";
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut id = Vec::with_capacity(HEAD.len() + prefix.len() + 8);
        id.extend_from_slice(HEAD);
        id.extend_from_slice(prefix.as_bytes());
        id.extend((0..8).rev().map(|place| DIGITS[(number >> (place * 4) & 15) as usize]));
        let header = HeaderValue::from_maybe_shared(Bytes::from(id));
        Self { header: header.unwrap_or(HeaderValue::from_static("req_")), number }
    }

    /// Of all requests to this data plane.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The lower 32 bits of the number that `id` was made of, if it is such an id.
    #[must_use]
    pub fn number_of(id: &str) -> Option<u32> {
        let digits = id.len().checked_sub(8).and_then(|at| id.get(at..))?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }

    /// As a header has it.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        self.header.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn ids_are_made_of_prefix_and_number() {
        assert_eq!(&*RequestId::new("ab12", 0x1f), "req_ab120000001f");
        assert_eq!(&*RequestId::new("", u64::from(u32::MAX)), "req_ffffffff");
        assert_eq!(RequestId::new("x", 1).header(), "req_x00000001");
        assert_eq!(RequestId::number_of("req_ab120000001f"), Some(0x1f));
        for other in ["", "req_", "1234567", "req_abcd\u{e9}1234567", "+1234567"] {
            assert_eq!(RequestId::number_of(other), None, "{other}");
        }
        assert_eq!(&*RequestId::new("no\nheader", 1), "req_");
    }
}
