//! The latest figures of a kind, in the order of their size.

use std::collections::VecDeque;
use std::ops::Range;

/// At most `max` figures; at one more, the oldest goes.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    max: usize,
    ring: VecDeque<T>,
    sorted: Vec<T>,
}

impl<T: Copy + PartialOrd> Latest<T> {
    pub(crate) fn new(max: usize) -> Self {
        Latest { max, ring: VecDeque::new(), sorted: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The smallest first.
    pub(crate) fn sorted(&self) -> &[T] {
        &self.sorted
    }

    /// Adds one. The answer is which one went, and where in `sorted` others are than before.
    pub(crate) fn add(&mut self, figure: T) -> (Option<T>, Range<usize>) {
        let to = self.sorted.partition_point(|known| *known < figure);
        let oldest = if self.ring.len() < self.max { None } else { self.ring.pop_front() };
        self.ring.push_back(figure);
        let Some(oldest) = oldest else {
            self.sorted.insert(to, figure);
            return (None, to..to + 1);
        };
        // what lies between the two moves by one, the rest stays
        let from = self.sorted.partition_point(|known| *known < oldest);
        let moved = from.min(to)..to.max(from + 1);
        match from < to {
            true => self.sorted[moved.clone()].rotate_left(1),
            false => self.sorted[moved.clone()].rotate_right(1),
        }
        self.sorted[if from < to { to - 1 } else { to }] = figure;
        (Some(oldest), moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_latest_and_sorted() {
        let mut latest = Latest::new(9);
        let (mut all, mut state) = (Vec::new(), 1u64);
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            all.push((state >> 40) % 12);
            let before = latest.sorted().to_vec();
            let (gone, moved) = latest.add(all[all.len() - 1]);
            let from = all.len().saturating_sub(9);
            assert_eq!(gone, from.checked_sub(1).map(|gone| all[gone]));
            let mut sorted = all[from..].to_vec();
            sorted.sort_unstable();
            assert_eq!(latest.sorted(), sorted);
            let grown = sorted.len() - before.len();
            assert_eq!(sorted[..moved.start], before[..moved.start]);
            assert_eq!(sorted[moved.end..], before[moved.end - grown..]);
        }
        assert_eq!(latest.len(), 9);
    }
}
