//! A map in sorted lists. What is asked for in order, as the backends of a request are, is found without a search.

use std::cell::Cell;

use crate::{BackendId, ModelId};

/// What things are sorted by.
pub(crate) trait Numbered: Copy {
    /// Another for each, in their order.
    fn number(self) -> u64;
}

impl Numbered for BackendId {
    fn number(self) -> u64 {
        self.0.into()
    }
}

impl Numbered for (BackendId, ModelId) {
    fn number(self) -> u64 {
        (u64::from(self.0.0) << 32) | u64::from(self.1.0)
    }
}

/// For few keys that seldom come and go: each of those moves all behind it.
#[derive(Debug)]
pub(crate) struct Sorted<K, V> {
    numbers: Vec<u64>,
    keys: Vec<K>,
    values: Vec<V>,
    /// Behind the one that was asked for last.
    next: Cell<usize>,
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted { numbers: Vec::new(), keys: Vec::new(), values: Vec::new(), next: Cell::new(0) }
    }
}

impl<K: Numbered, V> Sorted<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.find(key).ok().map(|at| &self.values[at])
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.find(key).ok().map(|at| &mut self.values[at])
    }

    pub(crate) fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let at = self.find(key).unwrap_or_else(|at| {
            self.numbers.insert(at, key.number());
            self.keys.insert(at, key);
            self.values.insert(at, value());
            at
        });
        &mut self.values[at]
    }

    pub(crate) fn remove(&mut self, key: K) {
        if let Ok(at) = self.find(key) {
            self.numbers.remove(at);
            self.keys.remove(at);
            self.values.remove(at);
        }
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(K) -> bool) {
        let mut keys = self.keys.iter();
        self.values.retain(|_| keys.next().is_some_and(|key| keep(*key)));
        self.keys.retain(|key| keep(*key));
        self.numbers.clear();
        self.numbers.extend(self.keys.iter().map(|key| key.number()));
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.keys.iter().copied().zip(&self.values)
    }

    /// As `iter`.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.keys.iter().copied().zip(&mut self.values)
    }

    /// Where a key is, or would be.
    fn find(&self, key: K) -> Result<usize, usize> {
        let (next, key) = (self.next.get(), key.number());
        if self.numbers.get(next) == Some(&key) {
            self.next.set(next + 1);
            return Ok(next);
        }
        let found = self.numbers.binary_search(&key);
        self.next.set(found.map_or_else(|at| at, |at| at + 1));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn as_a_map() {
        let (mut sorted, mut map) = (Sorted::default(), BTreeMap::<BackendId, u32>::new());
        let mut state = 1u64;
        for turn in 0..20_000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = BackendId((state >> 40) as u32 % 40);
            match (state >> 20) % 8 {
                0 => {
                    sorted.remove(key);
                    map.remove(&key);
                }
                1 => {
                    sorted.retain(|other| other.0 % 7 != key.0 % 7);
                    map.retain(|other, _| other.0 % 7 != key.0 % 7);
                }
                2 | 3 => {
                    *sorted.get_or_insert_with(key, || 0) += turn;
                    *map.entry(key).or_insert(0) += turn;
                }
                _ => (0..key.0)
                    .for_each(|key| assert_eq!(sorted.get(BackendId(key)), map.get(&BackendId(key)))),
            }
            assert_eq!(sorted.get_mut(key), map.get_mut(&key));
        }
        assert_eq!(sorted.len(), map.len());
        assert!(sorted.iter().eq(map.iter().map(|(key, value)| (*key, value))));
        assert!(sorted.iter_mut().eq(map.iter_mut().map(|(key, value)| (*key, value))));
    }
}
