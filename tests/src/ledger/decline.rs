//! Who waits though it could start, since when, and what that may save at most.

use sched::{Backend, BackendId, Moment};

use super::{Ledger, Wait};

/// The slowest that a server is thought to read, in tokens a second, in a world where answers tell nothing else.
const PREFILL_TPS: f64 = 1000.0;
/// What a start on a full server costs more than on an empty one, and what slowing an answer by a second does, in seconds.
const FULL: f64 = 0.05;
const SLOWED: f64 = 0.6;

/// One who waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decline {
    /// Since when a slot has been free that it may use, without a pause.
    pub since: Option<Moment>,
    /// The most seconds that waiting was worth, whenever one was.
    pub saves: f64,
}

impl Ledger {
    /// Looks at everybody who waits, after all decisions.
    pub(super) fn judge_declines(&mut self) {
        let free: Vec<BackendId> =
            self.fleet.backends.keys().copied().filter(|id| self.free(*id) > 0).collect();
        let mut declines = std::mem::take(&mut self.declines);
        declines.retain(|ticket, _| self.waiting.contains_key(ticket));
        for (ticket, wait) in self.waiting.iter().filter(|(_, wait)| wait.chooses()) {
            let saves = free.iter().filter_map(|id| self.saves(wait, *id)).max_by(f64::total_cmp);
            let decline: &mut Decline = declines.entry(*ticket).or_default();
            match saves {
                Some(saves) => {
                    decline.since.get_or_insert(self.now);
                    decline.saves = decline.saves.max(saves);
                }
                None => decline.since = None,
            }
        }
        self.declines = declines;
    }

    /// The most that waiting can save who may start there now: all that starting costs, where nothing is cached.
    fn saves(&self, wait: &Wait, backend: BackendId) -> Option<f64> {
        let seen: &Backend = self.fleet.backends.get(&backend)?;
        if seen.models_max.is_some() || !self.goes(wait, backend) {
            return None;
        }
        let alone = f64::from(wait.arrival.prompt_tokens) / PREFILL_TPS;
        let there = self.running.values().filter(|held| held.backend == backend);
        let (streaming, reading): (Vec<_>, Vec<_>) = there.partition(|held| held.streaming);
        let share = reading.len() as f64 * alone;
        let slowed = share + SLOWED * streaming.len() as f64 * alone;
        Some(alone + share + self.fleet.tuning.interference_weight * slowed + FULL)
    }
}
