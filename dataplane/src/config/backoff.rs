//! How long to wait before the control plane is tried again: so that a fleet that lost it all at once comes back evenly.

use std::time::Duration;

/// The first wait is shorter than this; the bound doubles with each attempt in vain.
const BOUND_MIN: Duration = Duration::from_millis(200);
/// No wait is longer: with a control plane that is back, the fleet is whole again within two seconds.
const BOUND_MAX: Duration = Duration::from_millis(1500);
/// No wait is shorter.
const WAIT_MIN: Duration = Duration::from_millis(20);
/// One that is turned away for what it is waits for so long: only an operator changes that.
const DENIED: Duration = Duration::from_secs(5);
/// A session that lasted for so long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(3);

/// Full jitter: each wait is drawn from nothing to a bound that grows.
#[derive(Debug)]
pub struct Backoff {
    bound: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { bound: BOUND_MIN }
    }
}

impl Backoff {
    /// The wait after a session that lasted for so long. `chance` is drawn anew from 0 to 1.
    pub fn after(&mut self, lasted: Duration, denied: bool, chance: f64) -> Duration {
        if lasted > GOOD_AFTER {
            *self = Self::default();
        }
        let wait = self.bound.mul_f64(chance).max(WAIT_MIN);
        self.bound = (self.bound * 2).min(BOUND_MAX);
        if denied { DENIED.mul_f64(0.5 + chance) } else { wait }
    }
}

/// From 0 to 1: spreads who comes back at the same time.
#[must_use]
pub fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_spread_over_a_bound_that_grows_to_its_end() {
        let (mut backoff, ms) = (Backoff::default(), Duration::from_millis);
        for bound in [200, 400, 800, 1500, 1500] {
            let mut low = Backoff { bound: backoff.bound };
            assert_eq!(low.after(ms(0), false, 0.0), WAIT_MIN);
            let mut half = Backoff { bound: backoff.bound };
            assert_eq!(half.after(ms(0), false, 0.5), ms(bound / 2));
            assert_eq!(backoff.after(ms(0), false, 1.0), ms(bound));
        }
        assert_eq!(backoff.after(ms(3001), false, 1.0), ms(200), "it begins anew after a good one");
        assert!(backoff.after(ms(0), true, 0.0) > BOUND_MAX);
    }

    /// A hundred that lose it at the same moment knock evenly, and all of them soon.
    #[test]
    fn a_fleet_is_no_herd() {
        let mut state = 7_u64;
        let mut chance = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        // It is away for ten seconds.
        let (mut knocks, mut back) = (vec![0_u32; 120], Vec::new());
        for _ in 0..100 {
            let (mut at, mut backoff) = (Duration::ZERO, Backoff::default());
            while at < Duration::from_secs(10) {
                at += backoff.after(Duration::ZERO, false, chance());
                knocks[at.as_millis() as usize / 100] += 1;
            }
            back.push(at - Duration::from_secs(10));
        }
        assert!(back.iter().all(|late| *late <= BOUND_MAX), "{back:?}");
        // Once it has grown: 100 / 0.75 s a second, 13 in a tenth of it.
        assert!(knocks[30..100].iter().all(|count| *count <= 35), "{knocks:?}");
    }
}
