//! How much of a pool was used since when, in tokens: by that a server decides what goes first.

/// Spans that are told apart; what was used before them counts as used at one time.
const SPANS: u32 = 128;

/// When a record was last used: the number of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u32);

impl Stamp {
    /// That of nothing.
    pub(super) const NEVER: Stamp = Stamp(0);
}

/// Tokens that nothing uses now, by when they were last used.
#[derive(Debug)]
pub(super) struct Ages {
    now: u32,
    /// By the number of the span, modulo.
    tokens: Box<[u64; SPANS as usize]>,
    /// Before all of these.
    older: u64,
    /// In the span that is now, whether or not they were used again since.
    fresh: u64,
}

impl Default for Ages {
    fn default() -> Self {
        Ages { now: SPANS, tokens: Box::new([0; SPANS as usize]), older: 0, fresh: 0 }
    }
}

impl Ages {
    /// What is used from now on counts as used later; nothing changes before `few` tokens were.
    pub(super) fn turn(&mut self, few: u64) {
        if self.fresh < few {
            return;
        }
        (self.now, self.fresh) = (self.now.wrapping_add(1), 0);
        self.older += std::mem::take(&mut self.tokens[(self.now % SPANS) as usize]);
    }

    /// What is used now.
    pub(super) fn now(&self) -> Stamp {
        Stamp(self.now)
    }

    /// They are used now.
    pub(super) fn add(&mut self, tokens: u64) -> Stamp {
        self.fresh += tokens;
        *self.at(self.now()) += tokens;
        self.now()
    }

    /// They were used then, and go.
    pub(super) fn remove(&mut self, tokens: u64, stamp: Stamp) {
        *self.at(stamp) -= tokens;
    }

    /// Tokens that were used then or later.
    pub(super) fn since(&self, stamp: Stamp) -> u64 {
        let (first, last) = ((stamp.0 % SPANS) as usize, (self.now % SPANS) as usize);
        if self.now.wrapping_sub(stamp.0) >= SPANS {
            return self.older + self.tokens.iter().sum::<u64>();
        }
        let sum = |part: &[u64]| part.iter().sum::<u64>();
        match self.tokens.get(first..=last) {
            Some(part) => sum(part),
            None => sum(&self.tokens[first..]) + sum(&self.tokens[..=last]),
        }
    }

    fn at(&mut self, stamp: Stamp) -> &mut u64 {
        match self.now.wrapping_sub(stamp.0) {
            age if age < SPANS => &mut self.tokens[(stamp.0 % SPANS) as usize],
            _ => &mut self.older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_later_is_counted_however_long_ago() {
        let mut ages = Ages::default();
        let stamps: Vec<Stamp> = (0..3 * SPANS)
            .map(|_| {
                ages.turn(1);
                ages.add(10)
            })
            .collect();
        let since = |ages: &Ages, index: u32| ages.since(stamps[index as usize]);
        let all = u64::from(30 * SPANS);
        assert_eq!((since(&ages, 3 * SPANS - 1), since(&ages, 3 * SPANS - 5)), (10, 50));
        assert_eq!(since(&ages, 2 * SPANS), u64::from(10 * SPANS));
        // before that all counts as one
        assert_eq!((since(&ages, SPANS), since(&ages, 0)), (all, all));
        for stamp in &stamps {
            ages.remove(10, *stamp);
        }
        assert_eq!(since(&ages, 0), 0);
    }

    #[test]
    fn little_is_one_span() {
        let mut ages = Ages::default();
        let first = ages.add(99);
        ages.turn(100);
        assert_eq!((ages.add(1), ages.since(first)), (first, 100));
        ages.turn(100);
        assert!(ages.add(7) > first);
        assert_eq!(ages.since(first), 107);
    }
}
