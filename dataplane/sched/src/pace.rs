//! How fast backends serve, and what that says about the wait before them.

use crate::slots::Slots;
use crate::{BackendId, Moment, Span};

/// How long a request is taken to hold a slot of a backend on which none has ended yet.
pub const SERVICE_GUESS: Span = Span::from_secs(5);
/// No client is asked to come back earlier.
pub const RETRY_AFTER_MIN: Span = Span::from_secs(1);
/// No client is asked to come back later.
pub const RETRY_AFTER_MAX: Span = Span::from_secs(300);
/// What a client is told when nothing is up that could serve it.
pub const RETRY_AFTER_IDLE: Span = Span::from_secs(5);

/// A new time weighs one part in so many.
const WEIGHT: u64 = 8;
/// Rates are counted in slots for this many microseconds, so that a slow one is not zero.
const SCALE: u128 = 1 << 40;

/// The moving average of how long a request holds a slot.
#[derive(Default)]
pub(crate) struct Pace(Option<Span>);

impl Pace {
    pub(crate) fn add(&mut self, held: Span) {
        self.0 = Some(self.0.map_or(held, |mean| Span(mean.0 - mean.0 / WEIGHT + held.0 / WEIGHT)));
    }

    pub(crate) fn mean(&self) -> Option<Span> {
        self.0
    }
}

/// How long the one behind so many others waits for a slot of these backends, at most `RETRY_AFTER_MAX`.
pub(crate) fn turn(eligible: &[BackendId], slots: &Slots, ahead: usize, now: Moment) -> Span {
    let (mut serving, mut resting, mut rest) = (0, 0, RETRY_AFTER_MAX);
    for room in eligible.iter().filter_map(|id| slots.room(*id)).filter(|room| room.backend.up()) {
        let mean = room.pace.mean().unwrap_or(SERVICE_GUESS).0.max(1);
        let rate = u128::from(room.slots()) * SCALE / u128::from(mean);
        match room.switch.rests_until() {
            None => serving += rate,
            Some(until) => {
                resting += rate;
                rest = rest.min(until.since(now));
            }
        }
    }
    let drained = |rate: u128| Span(((ahead as u128 + 1) * SCALE / rate).min(u128::from(u64::MAX)) as u64);
    let turn = match (serving, resting) {
        (0, 0) => RETRY_AFTER_IDLE,
        (0, resting) => rest + drained(resting),
        (serving, _) => drained(serving),
    };
    turn.min(RETRY_AFTER_MAX)
}
