//! What probes say of a backend, what its breaker does, and why, in words.

use sched::{Breaker, BreakerState, Cause, Fault, Health, Span};

/// Why the core sends a backend nothing of its own accord; empty where it does.
#[must_use]
pub fn resting(breaker: &Breaker) -> String {
    let seconds = |span: Span| span.0.div_ceil(1_000_000);
    if breaker.limited.0 > 0 {
        return format!("asked to be left alone for {} s more", seconds(breaker.limited));
    }
    let after = cause(breaker);
    match breaker.state {
        BreakerState::Closed => String::new(),
        BreakerState::Open => format!("rests {} s after {after}", seconds(breaker.rest)),
        BreakerState::Trial => format!("gets one request at a time after {after}"),
    }
}

/// Whether probes say that it is well; none where they say nothing that counts.
#[must_use]
pub const fn healthy(health: Health) -> Option<bool> {
    match health {
        Health::Healthy => Some(true),
        Health::Unhealthy => Some(false),
        Health::Unknown => None,
    }
}

/// What it does.
#[must_use]
pub const fn state(breaker: &Breaker) -> &'static str {
    match breaker.state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::Trial => "trial",
    }
}

/// What last counted against the backend, also long ago.
#[must_use]
pub const fn cause(breaker: &Breaker) -> &'static str {
    match breaker.cause {
        Some(Cause::Fault(Fault::Connect | Fault::Refused)) => "failed connections",
        Some(Cause::Fault(Fault::Reset)) => "broken connections",
        Some(Cause::Fault(Fault::Timeout | Fault::Slow)) => "answers that did not come in time",
        Some(Cause::Fault(Fault::Status)) => "answers that it failed",
        Some(Cause::Fault(Fault::Answer | Fault::Limited { .. })) | Some(Cause::Failed) => "broken answers",
        None => "failures",
    }
}
