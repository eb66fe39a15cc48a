//! Time as the core knows it: microseconds, handed in with every event.

use std::ops::{Add, Sub};

/// A point in time: microseconds since an arbitrary start. `Moment::NEVER` is later than all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// A length of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

impl Moment {
    /// The moment that does not come.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The time from `earlier` to this moment, zero when `earlier` is not earlier.
    pub fn since(self, earlier: Moment) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// A span of whole milliseconds, at most what fits.
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(1_000))
    }

    /// A span of whole seconds, at most what fits.
    pub const fn from_secs(secs: u64) -> Span {
        Span(secs.saturating_mul(1_000_000))
    }

    /// In seconds.
    pub fn secs(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Of so many seconds, rounded up to a microsecond; zero for less than none, at most what fits.
    pub(crate) fn of_secs(secs: f64) -> Span {
        Span((secs * 1e6).ceil() as u64)
    }
}

impl Add<Span> for Moment {
    type Output = Moment;

    fn add(self, span: Span) -> Moment {
        Moment(self.0.saturating_add(span.0))
    }
}

impl Sub<Moment> for Moment {
    type Output = Span;

    fn sub(self, earlier: Moment) -> Span {
        self.since(earlier)
    }
}

impl Add for Span {
    type Output = Span;

    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Span;

    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}
