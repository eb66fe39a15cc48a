//! Digests on their way to the data planes that follow, no faster than is agreed.

use std::collections::VecDeque;

use super::{Act, Lead, Order};
use crate::permit::{DIGEST_BYTES, DIGEST_BYTES_PER_SECOND, DIGESTS_WAITING_MAX, Down, PlaneId};
use crate::{Digest, Moment, Span};

/// What one costs, in microseconds of what may be sent.
const COST: u64 = DIGEST_BYTES * 1_000_000 / DIGEST_BYTES_PER_SECOND;
/// What may be saved up.
const SAVED_MAX: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Digests {
    /// At most `DIGESTS_WAITING_MAX`, each with the data plane that it came from.
    waiting: VecDeque<(PlaneId, Digest)>,
    /// When all that may be saved up has been spent so far.
    spent: Moment,
}

impl Digests {
    pub(super) fn extend(&mut self, from: PlaneId, digest: Option<Digest>) {
        self.waiting.extend(digest.map(|digest| (from, digest)));
        if self.waiting.len() > DIGESTS_WAITING_MAX {
            self.waiting.pop_front();
        }
    }

    pub(super) fn next_wake(&self) -> Option<Moment> {
        (!self.waiting.is_empty()).then(|| self.spent + Span(COST))
    }

    fn next(&mut self, now: Moment) -> Option<(PlaneId, Digest)> {
        self.spent = self.spent.max(Moment(now.0.saturating_sub(SAVED_MAX)));
        let due = self.spent + Span(COST);
        if due > now {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.spent = due;
        Some(next)
    }
}

impl<O: Order> Lead<O> {
    /// Tells all that follow but the one that it came from.
    pub(super) fn spread(&mut self, now: Moment, out: &mut Vec<Act>) {
        while let Some((from, digest)) = self.digests.next(now) {
            let follow = |plane: &PlaneId| *plane != self.home && *plane != from;
            let planes: Vec<PlaneId> = self.members.all().filter(follow).collect();
            for plane in planes {
                self.send(plane, Down::Digest(Box::new(digest.clone())), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, BackendId, Key, ModelId, Usage};

    fn digest(tokens: u32) -> Digest {
        Digest {
            backend: BackendId(0),
            model: ModelId(0),
            key: Key(0),
            asked: Asked(0),
            marks: Vec::new(),
            tokens,
            thought: 0,
            disturbed: false,
            first: None,
            took: Span::ZERO,
            usage: Usage::default(),
        }
    }

    #[test]
    fn no_more_go_than_are_agreed_and_the_oldest_are_left_out() {
        let mut digests = Digests::default();
        let start = 3_600_000_000;
        (0..10_000).for_each(|count| digests.extend(PlaneId(1), Some(digest(count))));
        let mut sent = Vec::new();
        for millis in 0..4_000 {
            // they come faster than they may go
            digests.extend(PlaneId(1), Some(digest(10_000 + millis)));
            let now = Moment(start + u64::from(millis) * 1000);
            sent.extend(std::iter::from_fn(|| digests.next(now)).map(|(_, digest)| digest.tokens));
        }
        let bytes = sent.len() as u64 * DIGEST_BYTES;
        assert!(bytes <= 5 * DIGEST_BYTES_PER_SECOND && bytes > 4 * DIGEST_BYTES_PER_SECOND, "{bytes}");
        assert_eq!(sent[0], 10_000 + 1 - DIGESTS_WAITING_MAX as u32);
        assert!(sent.is_sorted() && digests.next_wake().is_some());
    }
}
