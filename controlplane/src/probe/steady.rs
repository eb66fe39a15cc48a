//! Hysteresis: down after two bad probes of the last three, up after one good.

use crate::model::Health;

/// Probes that are looked back at.
const LOOK_BACK: usize = 3;
/// Bad ones among them that take a healthy backend down.
const BAD_MAX: usize = 2;

/// The last probes of one backend.
#[derive(Clone, Copy, Default, Debug)]
pub struct Steady {
    bad: [bool; LOOK_BACK],
    health: Health,
}

impl Steady {
    /// Notes a probe; the health after it. A backend that was never well is down at the first bad one.
    pub fn note(&mut self, good: bool) -> Health {
        self.bad.rotate_left(1);
        self.bad[LOOK_BACK - 1] = !good;
        let bad = self.bad.iter().filter(|bad| **bad).count();
        self.health = match self.health {
            _ if good => Health::Healthy,
            Health::Healthy if bad < BAD_MAX => Health::Healthy,
            _ => Health::Unhealthy,
        };
        self.health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (probes, want) in [
            ("+", "U"),
            ("-", "D"),
            ("--+", "DDU"),
            ("+-+-", "UUUD"),
            ("++-++-", "UUUUUU"),
            ("++--", "UUUD"),
            ("+--+-", "UUDUD"),
            ("+--+++-", "UUDUUUU"),
        ] {
            let mut steady = Steady::default();
            let seen: String = probes
                .chars()
                .map(|probe| match steady.note(probe == '+') {
                    Health::Healthy => 'U',
                    Health::Unhealthy => 'D',
                    Health::Unknown => '?',
                })
                .collect();
            assert_eq!(seen, want, "{probes}");
        }
    }
}
