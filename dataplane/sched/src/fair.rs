//! Who had how much: slot time of each key, so that no key lives at the cost of the others.

use std::collections::BTreeMap;

use crate::{Key, Span};

/// Keys that are remembered while they have nothing to do; what they had in advance of others is forgotten then.
pub const KEYS_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Seconds of slots, by weight.
    had: f64,
    running: u32,
}

/// The accounts of all keys.
#[derive(Debug, Default)]
pub(crate) struct Fair {
    accounts: BTreeMap<Key, Account>,
    /// What the key had whose request ended last: where all begin anew when nobody is left.
    last: f64,
}

impl Fair {
    /// A key that has nothing running asks again, while those in `waiting` wait: it has saved nothing up in between.
    pub(crate) fn join<'a>(&mut self, key: Key, waiting: impl Iterator<Item = &'a Key>) {
        if self.accounts.get(&key).is_some_and(|account| account.running > 0) {
            return;
        }
        let had = |key: &Key| self.accounts.get(key).map_or(0.0, |account| account.had);
        let running = self.accounts.values().filter(|account| account.running > 0).map(|account| account.had);
        let least = waiting.map(had).chain(running).min_by(f64::total_cmp).unwrap_or(self.last);
        let account = self.accounts.entry(key).or_default();
        account.had = account.had.max(least);
        if self.accounts.len() > KEYS_MAX {
            self.accounts
                .retain(|other, account| account.running > 0 || account.had > least || *other == key);
        }
    }

    /// A request starts that is expected to take so many seconds, by weight.
    pub(crate) fn start(&mut self, key: Key, secs: f64) {
        if self.accounts.len() > 2 * KEYS_MAX {
            self.accounts.retain(|_, account| account.running > 0);
        }
        let account = self.accounts.entry(key).or_default();
        account.had += secs;
        account.running += 1;
    }

    /// It ended, and took so many more.
    pub(crate) fn end(&mut self, key: Key, more: f64) {
        if let Some(account) = self.accounts.get_mut(&key) {
            account.had += more;
            account.running = account.running.saturating_sub(1);
            self.last = account.had;
        }
    }

    /// The least that one of these keys had.
    pub(crate) fn least<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> f64 {
        let had = |key: &Key| self.accounts.get(key).map_or(0.0, |account| account.had);
        keys.map(had).min_by(f64::total_cmp).unwrap_or_default()
    }

    /// Who is lower comes first: by how many quanta a key had more than `least`; `more` is what it is about to have.
    pub(crate) fn rank(&self, key: Key, more: f64, least: f64, quantum: Option<Span>) -> u64 {
        let Some(quantum) = quantum else { return 0 };
        let had = self.accounts.get(&key).map_or(0.0, |account| account.had) + more;
        ((had - least) / quantum.secs().max(1e-6)).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_has_saved_nothing() {
        let mut fair = Fair::default();
        let quantum = Some(Span::from_secs(10));
        fair.start(Key(1), 100.0);
        fair.join(Key(2), [].iter());
        assert_eq!(fair.rank(Key(2), 0.0, 0.0, quantum), 10);
        fair.end(Key(1), -50.0);
        assert_eq!(fair.rank(Key(1), 0.0, 0.0, quantum), 5);
        assert_eq!((fair.rank(Key(1), 0.0, 0.0, None), fair.rank(Key(9), 12.0, 0.0, quantum)), (0, 1));
        // the one that waits has the least
        fair.join(Key(3), [Key(1)].iter());
        assert_eq!(fair.rank(Key(3), 0.0, 0.0, quantum), 5);
    }

    #[test]
    fn what_one_had_while_nobody_wanted_it_is_no_debt() {
        let mut fair = Fair::default();
        let quantum = Some(Span::from_secs(10));
        fair.start(Key(1), 1000.0);
        fair.end(Key(1), 0.0);
        fair.join(Key(2), [].iter());
        fair.join(Key(1), [Key(2)].iter());
        assert_eq!(fair.rank(Key(2), 0.0, 0.0, quantum), fair.rank(Key(1), 0.0, 0.0, quantum));
    }

    #[test]
    fn keys_are_bounded() {
        let mut fair = Fair::default();
        for key in 0..10 * KEYS_MAX as u64 {
            fair.join(Key(key), [Key(0)].iter());
            fair.start(Key(key), 1.0);
            fair.end(Key(key), 0.0);
        }
        assert!(fair.accounts.len() <= 2 * KEYS_MAX + 1);
    }
}
