//! The latest deltas, for those who are a few behind. All followers share them: one that is slow keeps nothing of its own.

use std::{collections::VecDeque, sync::Arc};

use prost::Message as _;
use proto::v1;

/// One who is more deltas behind gets the whole snapshot instead.
pub const BEHIND_MAX: usize = 64;
/// All deltas together, bytes on the wire.
pub const LOG_BYTES_MAX: usize = 4 << 20;

/// Deltas in order, each on top of the one before.
#[derive(Debug, Default)]
pub struct Log {
    /// With the sequence number that each leads to, and its bytes.
    deltas: VecDeque<(u64, Arc<v1::Delta>, usize)>,
    bytes: usize,
}

impl Log {
    /// Adds the delta that leads to `seq` from the one before.
    pub fn push(&mut self, seq: u64, delta: v1::Delta) {
        let bytes = delta.encoded_len();
        self.bytes += bytes;
        self.deltas.push_back((seq, Arc::new(delta), bytes));
        while self.deltas.len() > BEHIND_MAX || self.bytes > LOG_BYTES_MAX {
            self.bytes -= self.deltas.pop_front().map_or(self.bytes, |(.., bytes)| bytes);
        }
    }

    /// Nobody can go on from what was before.
    pub fn clear(&mut self) {
        *self = Log::default();
    }

    /// The delta that leads on from `at`, and where to.
    #[must_use]
    pub fn after(&self, at: u64) -> Option<(u64, &Arc<v1::Delta>)> {
        let first = self.deltas.front()?.0;
        let place = usize::try_from((at + 1).checked_sub(first)?).ok()?;
        self.deltas.get(place).map(|(seq, delta, _)| (*seq, delta))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(log: &Log, from: u64, to: u64) -> Vec<u64> {
        (from..=to).filter_map(|at| log.after(at)).map(|(seq, _)| seq).collect()
    }

    #[test]
    fn one_leads_to_the_next_and_the_oldest_go_first() {
        let mut log = Log::default();
        assert!(log.after(0).is_none());
        for seq in 5..8 {
            log.push(seq, v1::Delta::default());
        }
        assert_eq!(seqs(&log, 0, 9), [5, 6, 7]);
        for seq in 8..8 + BEHIND_MAX as u64 {
            log.push(seq, v1::Delta::default());
        }
        assert!(log.after(6).is_none());
        assert_eq!(log.after(7).map(|(seq, _)| seq), Some(8));
        log.clear();
        assert!(log.after(8).is_none());
    }

    #[test]
    fn bounded_in_bytes() {
        let mut log = Log::default();
        let large = || v1::Delta { routes_gone: vec!["x".repeat(LOG_BYTES_MAX / 3)], ..v1::Delta::default() };
        for seq in 1..10 {
            log.push(seq, large());
        }
        assert_eq!(seqs(&log, 0, 9), [8, 9]);
        log.push(10, v1::Delta { routes_gone: vec!["x".repeat(LOG_BYTES_MAX)], ..v1::Delta::default() });
        assert_eq!(seqs(&log, 0, 10), [0_u64; 0], "too large to be kept at all");
    }
}
