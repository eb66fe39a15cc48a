//! Spans of time as the protos write them.

use prost_types::Duration;

/// Why a span of time cannot be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeError {
    /// Below zero, or its parts do not fit together.
    #[error("not a time from zero on")]
    Negative,
    /// Finer than we count.
    #[error("finer than a millisecond")]
    Fine,
}

/// A span in whole milliseconds.
///
/// # Errors
/// [`TimeError`].
pub fn millis(span: &Duration) -> Result<u64, TimeError> {
    let seconds = u64::try_from(span.seconds).map_err(|_| TimeError::Negative)?;
    let nanos = u64::try_from(span.nanos).map_err(|_| TimeError::Negative)?;
    if nanos % 1_000_000 != 0 {
        return Err(TimeError::Fine);
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

/// A span of so many milliseconds.
#[must_use]
pub fn span(millis: u64) -> Duration {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(millis % 1000 * 1_000_000).expect("less than a second in nanoseconds fits");
    Duration { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for of in [0, 1, 999, 1000, 1500, 86_400_000] {
            assert_eq!(millis(&span(of)), Ok(of));
        }
    }

    #[test]
    fn what_is_no_span() {
        assert_eq!(millis(&Duration { seconds: -1, nanos: 0 }), Err(TimeError::Negative));
        assert_eq!(millis(&Duration { seconds: 0, nanos: -1 }), Err(TimeError::Negative));
        assert_eq!(millis(&Duration { seconds: 0, nanos: 500 }), Err(TimeError::Fine));
    }
}
