//! A pool of chained blocks: what running requests use is pinned, of the rest the least recently used leaf goes first.

use std::collections::{BTreeSet, HashMap};

use super::Segment;
use crate::rng::mix;

/// A place in the tree of prefixes: the hash of all segments up to it.
type NodeId = u64;
/// Above the first segment of every sequence.
const ROOT: NodeId = 0;

#[derive(Clone, Debug)]
struct Node {
    parent: NodeId,
    tokens: u32,
    last: f64,
    children: u32,
    pins: u32,
    tick: u64,
    /// Tokens that the pool had taken in when this was used last.
    inserted: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Pool {
    capacity: u64,
    used: u64,
    nodes: HashMap<NodeId, Node>,
    /// What may go, the first first: leaves without a pin, by tick.
    leaves: BTreeSet<(u64, NodeId)>,
    tick: u64,
    inserted: u64,
}

/// The places that a sequence goes through.
fn path(sequence: &[Segment]) -> impl Iterator<Item = (NodeId, u32)> {
    sequence.iter().scan(ROOT, |place, segment| {
        let content = segment.id.wrapping_mul(31).wrapping_add(u64::from(segment.tokens));
        *place = mix(*place ^ mix(content)) | 1;
        Some((*place, segment.tokens))
    })
}

impl Pool {
    pub(super) fn new(capacity: u64) -> Self {
        Pool { capacity, used: 0, nodes: HashMap::new(), leaves: BTreeSet::new(), tick: 0, inserted: 0 }
    }

    /// Tokens of the longest prefix that is there.
    pub(super) fn longest(&self, sequence: &[Segment]) -> u64 {
        let known = path(sequence).take_while(|(place, _)| self.nodes.contains_key(place));
        known.map(|(_, tokens)| u64::from(tokens)).sum()
    }

    /// What is free.
    pub(super) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    /// Takes a sequence in and holds it until `unpin`.
    pub(super) fn pin(&mut self, sequence: &[Segment], now: f64) {
        self.grow(sequence, now);
        self.shrink();
    }

    /// Takes a sequence in.
    pub(super) fn insert(&mut self, sequence: &[Segment], now: f64) {
        self.pin(sequence, now);
        for (place, _) in path(sequence) {
            self.release(place);
        }
        self.shrink();
    }

    pub(super) fn unpin(&mut self, sequence: &[Segment]) {
        let places: Vec<NodeId> = path(sequence).map(|(place, _)| place).collect();
        for place in places.into_iter().rev() {
            self.release(place);
        }
    }

    /// Forgets what no running request uses.
    pub(super) fn clear(&mut self) {
        while self.evict() {}
    }

    /// Holds more or less from now on, between these bounds.
    pub(super) fn scale(&mut self, factor: f64, bounds: (u64, u64)) {
        self.capacity = ((self.capacity as f64 * factor) as u64).clamp(bounds.0, bounds.1);
        self.shrink();
    }

    /// Tokens taken in since the deepest known place of a sequence was used, as a share of the capacity.
    pub(super) fn distance(&self, sequence: &[Segment]) -> f64 {
        let known = path(sequence).map_while(|(place, _)| self.nodes.get(&place));
        known.last().map_or(0.0, |node| (self.inserted - node.inserted) as f64 / self.capacity as f64)
    }

    /// The first to go when so many more tokens are needed: tokens and idle time of each, at most what lies above the
    /// first `leaves` leaves.
    pub(super) fn first_to_go(&self, mut room: u64, leaves: usize, now: f64, mut each: impl FnMut(u64, f64)) {
        for (_, leaf) in self.leaves.iter().take(leaves) {
            let mut place = *leaf;
            while let Some(node) = self.nodes.get(&place).filter(|node| node.pins == 0 && node.children <= 1)
            {
                each(u64::from(node.tokens).min(room), now - node.last);
                room = room.saturating_sub(u64::from(node.tokens));
                if room == 0 {
                    return;
                }
                place = node.parent;
            }
        }
    }

    fn grow(&mut self, sequence: &[Segment], now: f64) {
        let mut parent = ROOT;
        for (place, tokens) in path(sequence) {
            self.tick += 1;
            if let Some(node) = self.nodes.get_mut(&place) {
                if node.children == 0 && node.pins == 0 {
                    self.leaves.remove(&(node.tick, place));
                }
                node.pins += 1;
                (node.tick, node.last, node.inserted) = (self.tick, now, self.inserted);
            } else {
                let node = Node {
                    parent,
                    tokens,
                    last: now,
                    children: 0,
                    pins: 1,
                    tick: self.tick,
                    inserted: self.inserted,
                };
                self.nodes.insert(place, node);
                self.used += u64::from(tokens);
                self.inserted += u64::from(tokens);
                if let Some(parent) = self.nodes.get_mut(&parent) {
                    parent.children += 1;
                }
            }
            parent = place;
        }
    }

    fn release(&mut self, place: NodeId) {
        let Some(node) = self.nodes.get_mut(&place) else { return };
        node.pins -= 1;
        if node.pins == 0 && node.children == 0 {
            self.leaves.insert((node.tick, place));
        }
    }

    fn shrink(&mut self) {
        while self.used > self.capacity && self.evict() {}
    }

    fn evict(&mut self) -> bool {
        let Some((_, place)) = self.leaves.pop_first() else { return false };
        let Some(node) = self.nodes.remove(&place) else { return false };
        self.used -= u64::from(node.tokens);
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            parent.children -= 1;
            if parent.children == 0 && parent.pins == 0 {
                self.leaves.insert((parent.tick, node.parent));
            }
        }
        true
    }
}
