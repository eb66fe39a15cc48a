//! A map from block hashes to places in a list: open addressing, four bytes an entry, the same on every machine.

/// Free.
const NONE: u32 = u32::MAX;
/// Entries that a table begins with.
const ENTRIES_MIN: usize = 16;
/// With fewer, nobody minds that half of them are free.
const SMALL: usize = 4096;

/// The hashes themselves lie in the list; whoever asks says how to find them there.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<u32>,
    len: usize,
}

impl Table {
    /// The place of a hash.
    pub(crate) fn get(&self, hash: u64, at: impl Fn(u32) -> u64) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        let mut entry = self.home(hash);
        loop {
            match self.entries[entry] {
                NONE => return None,
                place if at(place) == hash => return Some(place),
                _ => entry = self.after(entry),
            }
        }
    }

    /// Adds a hash that is not there.
    pub(crate) fn insert(&mut self, hash: u64, place: u32, at: impl Fn(u32) -> u64) {
        // at most three of four are taken: beyond that it takes long to see that a hash is not there
        if (self.len + 1) * 4 > self.entries.len() * 3 {
            // a large one by an eighth: a table that doubles is half empty half of the time
            let more = self.entries.len() / if self.entries.len() < SMALL { 1 } else { 8 };
            let entries = vec![NONE; (self.entries.len() + more).max(ENTRIES_MIN)];
            for old in std::mem::replace(&mut self.entries, entries) {
                if old != NONE {
                    self.put(at(old), old);
                }
            }
        }
        self.put(hash, place);
        self.len += 1;
    }

    /// Takes out a hash that is there. Those behind it move up, so that no gap parts them from their home.
    pub(crate) fn remove(&mut self, hash: u64, at: impl Fn(u32) -> u64) {
        let mut gap = self.home(hash);
        while at(self.entries[gap]) != hash {
            gap = self.after(gap);
        }
        let mut entry = gap;
        loop {
            entry = self.after(entry);
            if self.entries[entry] == NONE {
                break;
            }
            let home = self.home(at(self.entries[entry]));
            if self.from(home, entry) >= self.from(gap, entry) {
                self.entries[gap] = self.entries[entry];
                gap = entry;
            }
        }
        self.entries[gap] = NONE;
        self.len -= 1;
    }

    pub(crate) fn clear(&mut self) {
        *self = Table::default();
    }

    fn put(&mut self, hash: u64, place: u32) {
        let mut entry = self.home(hash);
        while self.entries[entry] != NONE {
            entry = self.after(entry);
        }
        self.entries[entry] = place;
    }

    fn home(&self, hash: u64) -> usize {
        let spread = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        ((spread * self.entries.len() as u64) >> 32) as usize
    }

    fn after(&self, entry: usize) -> usize {
        if entry + 1 == self.entries.len() { 0 } else { entry + 1 }
    }

    /// How far it is from one entry to another behind it.
    fn from(&self, one: usize, other: usize) -> usize {
        if other >= one { other - one } else { other + self.entries.len() - one }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn as_a_map() {
        let mut list: Vec<u64> = Vec::new();
        let mut table = Table::default();
        let mut map: BTreeMap<u64, u32> = BTreeMap::new();
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let hash = (state >> 40) % 700;
            match map.remove(&hash) {
                Some(_) => table.remove(hash, |place| list[place as usize]),
                None => {
                    list.push(hash);
                    map.insert(hash, list.len() as u32 - 1);
                    table.insert(hash, list.len() as u32 - 1, |place| list[place as usize]);
                }
            }
            let asked = (state >> 20) % 700;
            assert_eq!(table.get(asked, |place| list[place as usize]), map.get(&asked).copied());
        }
        assert_eq!(table.len, map.len());
    }
}
