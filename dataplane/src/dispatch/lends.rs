//! Whether a request can run here, or at another data plane alone.

use sched::Candidate;

use super::{Dispatch, seat::Seat};

/// Where a request that comes in now can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lends {
    /// Here, now or when its turn comes.
    Own,
    /// Only at a data plane that has permits: there is no lead to ask for one, and none of a candidate is held here.
    Elsewhere,
}

impl Dispatch {
    /// Where a request with these candidates can run. Without permits one data plane has all slots, the others none.
    #[must_use]
    pub fn lends(&self, candidates: &[Candidate]) -> Lends {
        let here = match &self.core().seat {
            Seat::Alone(alone) => alone.scheduler.fleet().owner,
            Seat::Shared(sharing) => sharing.serves(candidates),
        };
        if here { Lends::Own } else { Lends::Elsewhere }
    }
}
