//! How long a backend may take over a request of a route.

use serde::{Deserialize, Serialize};

/// What a route sets, in milliseconds; `None`: the default of the data planes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// Connecting, TLS included.
    pub connect_ms: Option<u64>,
    /// To the first content, for an empty prompt.
    pub first_token_ms: Option<u64>,
    /// Between any two bytes after the first content.
    pub between_tokens_ms: Option<u64>,
    /// From the first sending to the last byte.
    pub total_ms: Option<u64>,
}

/// The shortest and the longest of each, in milliseconds.
impl Deadlines {
    /// Of `connect_ms`.
    pub const CONNECT_MS: (u64, u64) = (10, 60_000);
    /// Of `first_token_ms`.
    pub const FIRST_TOKEN_MS: (u64, u64) = (100, 3_600_000);
    /// Of `between_tokens_ms`.
    pub const BETWEEN_TOKENS_MS: (u64, u64) = (100, 3_600_000);
    /// Of `total_ms`.
    pub const TOTAL_MS: (u64, u64) = (100, 86_400_000);
}
