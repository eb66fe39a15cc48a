//! Times as they are typed and shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOUR_MS: u64 = 3_600_000;

/// A number with `ms`, `s` or `m`: more than zero, an hour at most.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_ms(text)? {
        Some(ms @ 1..=HOUR_MS) => Ok(Duration::from_millis(ms)),
        _ => Err("more than zero and at most 60m is wanted".to_owned()),
    }
}

/// A number with `ms`, `s`, `m` or `h`: more than zero, a day at most. The control plane knows the bounds of each.
pub fn parse_deadline(text: &str) -> Result<Duration, String> {
    match parse_ms(text)? {
        Some(ms) if (1..=24 * HOUR_MS).contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err("more than zero and at most 24h is wanted".to_owned()),
    }
}

/// None where it does not fit.
fn parse_ms(text: &str) -> Result<Option<u64>, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit_ms: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => HOUR_MS,
        _ => return Err("a number and ms, s, m or h is wanted, such as 10s".to_owned()),
    };
    let number: u64 = text[..digits].parse().map_err(|_| "a number is wanted before the unit".to_owned())?;
    Ok(number.checked_mul(unit_ms))
}

/// A deadline as it is typed.
pub fn shown(span: &proto::Duration) -> String {
    match proto::millis(span) {
        Ok(ms) if ms % 1000 == 0 => format!("{}s", ms / 1000),
        Ok(ms) => format!("{ms}ms"),
        Err(_) => "-".to_owned(),
    }
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_typed() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("3m", 180_000), ("1h", HOUR_MS)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "0s", "61m", "2h", "1d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(parse_deadline("24h"), Ok(Duration::from_millis(24 * HOUR_MS)));
        assert!(parse_deadline("25h").is_err());
        assert!(parse_deadline("99999999999999999999h").is_err());
    }

    #[test]
    fn times_as_shown() {
        assert_eq!(shown(&proto::span(90_000)), "90s");
        assert_eq!(shown(&proto::span(250)), "250ms");
    }
}
