//! What a request is known by: in every answer, log line and error of ours.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use http::HeaderValue;

/// A number that this data plane gave out, as `req_PREFIXNUMBER`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

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
        Self(HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or(HeaderValue::from_static("req_")))
    }

    /// As a header has it.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.to_str().unwrap_or_default()
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
        assert_eq!(&*RequestId::new("no\nheader", 1), "req_");
    }
}
