//! A fingerprint of a run: FNV-1a over moments and decisions.

use sched::{Decision, Moment, Refusal};

pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0xCBF2_9CE4_8422_2325)
    }
}

impl Digest {
    pub(crate) fn value(&self) -> u64 {
        self.0
    }

    pub(crate) fn add(&mut self, now: Moment, decisions: &[Decision]) {
        self.number(now.0);
        for decision in decisions {
            match *decision {
                Decision::Start { ticket, candidate, backend, slot } => {
                    for number in [1, ticket.0, candidate.into(), backend.0.into(), slot.0.into()] {
                        self.number(number);
                    }
                }
                Decision::Refuse { ticket, why } => {
                    let (kind, detail) = match why {
                        Refusal::QueueFull { waiting, retry_after } => {
                            (2, (waiting as u64) << 32 | retry_after.0)
                        }
                        Refusal::Deadline { waited, retry_after } => (3, waited.0 << 32 | retry_after.0),
                        Refusal::TooLong { estimate, limit } => {
                            (4, u64::from(estimate) << 32 | u64::from(limit))
                        }
                        Refusal::NoCandidate => (5, 0),
                        Refusal::Unhealthy => (6, 0),
                        Refusal::Draining => (7, 0),
                        Refusal::Spare => (8, 0),
                        Refusal::Resting { retry_after } => (9, retry_after.0),
                        Refusal::Exhausted { tried, budget } => (10, (tried as u64) << 1 | u64::from(budget)),
                        Refusal::Closing { retry_after } => (11, retry_after.0),
                    };
                    for number in [kind, ticket.0, detail] {
                        self.number(number);
                    }
                }
            }
        }
    }

    fn number(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}
