//! In which order those who wait are looked at: by class, by what their keys had, by arrival.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;

use super::{Group, Kind, LineId, Number, Queue};
use crate::fair::Rank;
use crate::{Class, Key, Moment, Span};

/// One who may be next of its class: rank, number; the line, the group, and how many of it were taken before.
type Head = (Rank, Number, LineId, Group, usize);

/// The firsts of all groups, by class.
#[derive(Default)]
struct Heads {
    classes: BTreeMap<Class, BinaryHeap<Reverse<Head>>>,
}

impl Heads {
    fn push(&mut self, head: Head) {
        self.classes.entry(head.3.0).or_default().push(Reverse(head));
    }

    /// The first of the most urgent class, or of one that waited long enough to be `lifted` there if it comes first by
    /// its rank. Within its class nobody is lifted over others, or a flood of a key would be once it is old.
    fn pop(&mut self, lifted: impl Fn(Class, Number) -> Class) -> Option<Head> {
        let firsts = self.classes.iter().filter_map(|(class, heads)| Some((*class, heads.peek()?.0)));
        let most = firsts.clone().map(|(class, _)| class).min()?;
        let rivals = firsts.filter(|(class, head)| lifted(*class, head.1) <= most);
        let (class, _) = rivals.min_by_key(|(class, (rank, number, ..))| (*rank, *number, *class))?;
        self.classes.get_mut(&class)?.pop().map(|Reverse(head)| head)
    }
}

impl Queue {
    /// The first `most` of those whose kind `may` start now: by class, by what `rank` says of their keys, then
    /// by number. One counts as of the next class for each `age_max` that it waited; the oldest is always there once
    /// it waited for one.
    pub(crate) fn window(
        &self,
        may: impl Fn(&Kind) -> bool,
        most: usize,
        (now, age_max): (Moment, Span),
        rank: impl Fn(Key, Number, usize) -> Rank,
        window: &mut Vec<Number>,
    ) {
        window.clear();
        let waited =
            |number: Number| self.ticket(number).map_or(Span::ZERO, |ticket| now.since(ticket.since));
        let lifted = |class: Class, number: Number| {
            (1..=2)
                .filter(|times| waited(number).0 >= age_max.0.saturating_mul(*times))
                .fold(class, |class, _| class.above())
        };
        let mut heads = Heads::default();
        let mut oldest = None;
        for (id, line) in self.lines.iter().filter(|(_, line)| !line.numbers.is_empty() && may(&line.kind)) {
            for (group, numbers) in &line.groups {
                let first = numbers.first().copied();
                let head = |first| (rank(group.1, first, 0), first, *id, *group, 0);
                first.into_iter().for_each(|first| heads.push(head(first)));
            }
            oldest = [oldest, line.numbers.first().copied()].into_iter().flatten().min();
        }
        while window.len() < most
            && let Some((_, number, line, group, before)) = heads.pop(lifted)
        {
            window.push(number);
            let numbers = self.lines.get(&line).and_then(|line| line.groups.get(&group));
            let after = (Bound::Excluded(number), Bound::Unbounded);
            if let Some(next) = numbers.and_then(|numbers| numbers.range(after).next()) {
                heads.push((rank(group.1, *next, before + 1), *next, line, group, before + 1));
            }
        }
        window.extend(oldest.filter(|oldest| waited(*oldest) >= age_max && !window.contains(oldest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(numbers: &[(Class, u64, u64)]) -> Heads {
        let mut heads = Heads::default();
        for (class, rank, number) in numbers {
            heads.push((
                (*rank, 0),
                Number { since: Moment(*number), drawn: 0 },
                LineId(0),
                (*class, Key(0)),
                0,
            ));
        }
        heads
    }

    fn order(mut heads: Heads, old: impl Fn(u64) -> u32) -> Vec<u64> {
        let lifted =
            |class: Class, number: Number| (0..old(number.since.0)).fold(class, |class, _| class.above());
        std::iter::from_fn(|| heads.pop(lifted).map(|head| head.1.since.0)).collect()
    }

    #[test]
    fn age_lifts_over_classes_and_not_over_shares() {
        use Class::{Batch, Interactive, Normal};
        // a flood that is old does not overtake the young of a key that had less
        assert_eq!(order(line(&[(Normal, 3, 0), (Normal, 0, 9)]), |number| u32::from(number == 0)), [9, 0]);
        // the old of a lower class competes with the class above
        let mixed = [(Interactive, 0, 7), (Interactive, 1, 8), (Normal, 0, 5), (Normal, 2, 6), (Batch, 0, 1)];
        assert_eq!(order(line(&mixed), |_| 0), [7, 8, 5, 6, 1]);
        assert_eq!(order(line(&mixed), |number| u32::from(number < 7)), [5, 7, 8, 1, 6]);
        assert_eq!(order(line(&mixed), |number| if number < 7 { 2 } else { 0 }), [1, 5, 7, 8, 6]);
    }
}
