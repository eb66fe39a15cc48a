//! Who had how much: slot time of each key, so that no key lives at the cost of the others.

use std::collections::BTreeMap;

use crate::{Key, Moment, Span};

/// Keys that are remembered while they have nothing to do; beyond them all of those are forgotten, with what they had in
/// advance of others.
pub const KEYS_MAX: usize = 4096;

/// What a key had while nobody waited, in advance of others, counts as so many seconds of slots at most: it took nothing
/// from anybody.
const IDLE_LEAD_MAX: f64 = 60.0;

/// Where a key stands; who is lower comes first.
pub(crate) type Rank = (u64, u64);

#[derive(Clone, Copy, Debug)]
struct Account {
    /// Seconds of slots that its ended requests had, by weight.
    had: f64,
    /// When that was written down, counted in times at which nobody waited.
    calm: u64,
    /// Which start of all was its last.
    turn: u64,
}

/// What a key has running.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    requests: u32,
    /// Seconds of slots that they are expected to take in all, by weight.
    charged: f64,
    /// Seconds of slots that go by in each second, by weight, and when they began, times that.
    pace: f64,
    began: f64,
}

/// The accounts of all keys.
#[derive(Debug, Default)]
pub(crate) struct Fair {
    accounts: BTreeMap<Key, Account>,
    running: BTreeMap<Key, Running>,
    started: u64,
    /// How often somebody came while nobody waited, and what older accounts count as at most since.
    calm: u64,
    ceiling: f64,
    /// What who is not known had: the least at the last time that somebody came.
    floor: f64,
    /// What the key had whose request ended last: where all begin anew when nobody is left.
    last: f64,
}

impl Fair {
    /// A key that has nothing running asks again, while those in `waiting` wait: it has saved nothing up in between.
    /// It begins where others are by now and not where they will be once what they run has ended, or each of its
    /// requests would wait for one more of a flood, as start-time fair queueing does (Goyal, Vin, Cheng 1996).
    pub(crate) fn join(&mut self, key: Key, waiting: &BTreeMap<Key, usize>, now: Moment) {
        if self.running.contains_key(&key) {
            return;
        }
        let so_far = |key: &Key| self.so_far(key, now);
        let active = waiting.keys().map(so_far).chain(self.running.keys().map(so_far));
        self.floor = active.min_by(f64::total_cmp).unwrap_or(self.last);
        if waiting.is_empty() {
            self.calm += 1;
            self.ceiling = self.floor + IDLE_LEAD_MAX;
        }
        let floor = self.floor;
        let account = self.write(key);
        account.had = account.had.max(floor);
        if self.accounts.len() > 2 * KEYS_MAX + waiting.len() + self.running.len() {
            let running = &self.running;
            self.accounts.retain(|other, _| {
                running.contains_key(other) || waiting.contains_key(other) || *other == key
            });
        }
    }

    /// A request starts that is expected to take so many seconds; its key has this weight.
    pub(crate) fn start(&mut self, key: Key, secs: f64, weight: f64, now: Moment) {
        self.started += 1;
        self.write(key).turn = self.started;
        let running = self.running.entry(key).or_default();
        running.requests += 1;
        running.charged += secs / weight;
        running.pace += 1.0 / weight;
        running.began += seconds(now) / weight;
    }

    /// One that was expected to take `secs` took so many from its start at `since`.
    pub(crate) fn end(&mut self, key: Key, (secs, took): (f64, f64), weight: f64, since: Moment) {
        let Some(running) = self.running.get_mut(&key) else { return };
        running.requests -= 1;
        running.charged -= secs / weight;
        running.pace -= 1.0 / weight;
        running.began -= seconds(since) / weight;
        if running.requests == 0 {
            self.running.remove(&key);
        }
        let account = self.write(key);
        account.had += took / weight;
        self.last = account.had;
    }

    /// The account of a key, with what it counts as by now.
    fn write(&mut self, key: Key) -> &mut Account {
        let (calm, floor) = (self.calm, self.floor);
        let account = self.accounts.entry(key).or_insert(Account { had: floor, calm, turn: 0 });
        if account.calm != calm {
            (account.had, account.calm) = (account.had.min(self.ceiling), calm);
        }
        account
    }

    /// What the ended requests of a key had, as far as that counts.
    fn settled(&self, key: &Key) -> f64 {
        match self.accounts.get(key) {
            None => self.floor,
            Some(account) if account.calm == self.calm => account.had,
            Some(account) => account.had.min(self.ceiling),
        }
    }

    /// What a key had by now, what runs as far as it came.
    fn so_far(&self, key: &Key, now: Moment) -> f64 {
        let Running { pace, began, .. } = self.running.get(key).copied().unwrap_or_default();
        self.settled(key) + pace * seconds(now) - began
    }

    /// What a key had, what runs as if it had ended.
    fn had(&self, key: &Key) -> f64 {
        self.settled(key) + self.running.get(key).map_or(0.0, |running| running.charged)
    }

    /// The least that one of these keys had.
    pub(crate) fn least<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> f64 {
        keys.map(|key| self.had(key)).min_by(f64::total_cmp).unwrap_or_default()
    }

    /// By how many quanta a key had more than `least`; `more` is what it is about to have. Without a quantum, of keys
    /// that had the same the one that was served longest ago comes first, and not the oldest of a flood.
    pub(crate) fn rank(&self, key: Key, more: f64, least: f64, quantum: Option<Span>) -> Rank {
        let Some(quantum) = quantum else { return (0, 0) };
        let turn = self.accounts.get(&key).map_or(0, |account| account.turn);
        let quanta = ((self.had(&key) + more - least) / quantum.secs().max(1e-6)).max(0.0) as u64;
        (quanta, if quantum == Span::ZERO { turn } else { 0 })
    }
}

fn seconds(moment: Moment) -> f64 {
    moment.since(Moment::default()).secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::default() + Span::from_secs(secs)
    }

    fn nobody() -> BTreeMap<Key, usize> {
        BTreeMap::new()
    }

    fn waits(key: u64) -> BTreeMap<Key, usize> {
        BTreeMap::from([(Key(key), 1)])
    }

    #[test]
    fn who_was_away_has_saved_nothing() {
        let mut fair = Fair::default();
        let quantum = Some(Span::from_secs(10));
        fair.start(Key(1), 100.0, 1.0, at(0));
        fair.join(Key(2), &nobody(), at(50));
        assert_eq!(fair.rank(Key(2), 0.0, 0.0, quantum), (5, 0));
        assert_eq!(fair.rank(Key(1), 0.0, 0.0, quantum), (10, 0));
        fair.end(Key(1), (100.0, 60.0), 1.0, at(0));
        assert_eq!(fair.rank(Key(1), 0.0, 0.0, quantum), (6, 0));
        assert_eq!(fair.rank(Key(1), 0.0, 0.0, None), (0, 0));
        assert_eq!(fair.rank(Key(9), 12.0, 50.0, quantum), (1, 0));
        // the one that waits has the least
        fair.join(Key(3), &waits(2), at(70));
        assert_eq!(fair.rank(Key(3), 0.0, 0.0, quantum), (5, 0));
    }

    #[test]
    fn what_runs_counts_as_far_as_it_came_by_weight() {
        let mut fair = Fair::default();
        fair.start(Key(1), 8.0, 4.0, at(10));
        fair.start(Key(1), 100.0, 2.0, at(20));
        assert_eq!(fair.so_far(&Key(1), at(30)), 20.0 / 4.0 + 10.0 / 2.0);
        fair.end(Key(1), (8.0, 20.0), 4.0, at(10));
        assert_eq!(fair.so_far(&Key(1), at(40)), 20.0 / 4.0 + 20.0 / 2.0);
        fair.end(Key(1), (100.0, 30.0), 2.0, at(20));
        assert_eq!(fair.so_far(&Key(1), at(90)), 20.0 / 4.0 + 30.0 / 2.0);
        assert!(fair.running.is_empty());
    }

    #[test]
    fn what_one_had_while_nobody_wanted_it_is_no_debt() {
        let mut fair = Fair::default();
        let quantum = Some(Span::from_secs(10));
        fair.start(Key(1), 1000.0, 1.0, at(0));
        fair.end(Key(1), (1000.0, 1000.0), 1.0, at(0));
        fair.join(Key(2), &nobody(), at(1000));
        fair.join(Key(1), &waits(2), at(1000));
        assert_eq!(fair.rank(Key(2), 0.0, 0.0, quantum), fair.rank(Key(1), 0.0, 0.0, quantum));
    }

    #[test]
    fn a_lead_from_idle_times_is_a_minute_at_most() {
        let mut fair = Fair::default();
        let quantum = Some(Span::from_secs(10));
        // one runs a single stream, the other all that is idle beside it
        fair.join(Key(1), &nobody(), at(0));
        fair.start(Key(1), 1200.0, 1.0, at(0));
        fair.join(Key(2), &nobody(), at(0));
        for _ in 0..9 {
            fair.start(Key(2), 1200.0, 1.0, at(0));
        }
        for _ in 0..9 {
            fair.end(Key(2), (1200.0, 1200.0), 1.0, at(0));
        }
        let rank = |fair: &Fair, key| fair.rank(Key(key), 0.0, fair.floor, quantum).0;
        fair.join(Key(3), &nobody(), at(1200));
        assert_eq!((rank(&fair, 3), rank(&fair, 2)), (0, 6));
        // while somebody waits, what one has is taken from him
        fair.join(Key(2), &waits(3), at(1200));
        fair.start(Key(2), 200.0, 1.0, at(1200));
        fair.end(Key(2), (200.0, 200.0), 1.0, at(1200));
        assert_eq!(rank(&fair, 2), 26);
    }

    #[test]
    fn who_waits_is_not_forgotten_and_gains_nothing_by_others() {
        let mut fair = Fair::default();
        fair.start(Key(0), 1000.0, 1.0, at(0));
        fair.end(Key(0), (1000.0, 1000.0), 1.0, at(0));
        let waiting = waits(0);
        for key in 1..10 * KEYS_MAX as u64 {
            fair.join(Key(key), &waiting, at(key));
            fair.start(Key(key), 1.0, 1.0, at(key));
            fair.end(Key(key), (1.0, 1.0), 1.0, at(key));
        }
        assert!(fair.accounts.len() <= 2 * KEYS_MAX + 2 && fair.running.is_empty());
        assert_eq!((fair.had(&Key(0)), fair.had(&Key(1))), (1000.0, 1000.0));
    }
}
