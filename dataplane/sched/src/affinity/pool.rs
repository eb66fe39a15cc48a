//! The cache of a server that shares one pool of blocks over all its slots: what was not used for longest goes first,
//! from the ends of sequences inwards.

use std::collections::{BTreeMap, BTreeSet};

use super::table::Table;
use super::{Lost, Warm};
use crate::chain::Chain;
use crate::{Moment, TicketId};

/// No node.
const NONE: u32 = u32::MAX;
/// How many ends of sequences are looked at to tell what a start would displace.
const LEAVES_SEEN_MAX: usize = 24;
/// A pool is never learned to be smaller or larger, in tokens.
const TOKENS_MIN: u64 = 20_000;
const TOKENS_MAX: u64 = 4_000_000;
/// What an answer is called: its text is not known, so it hangs at the prompt that it answers.
const ANSWER: u64 = 0xA5A5_5A5A_A5A5_5A5A;

#[derive(Clone, Debug)]
struct Node {
    hash: u64,
    last: Moment,
    parent: u32,
    tokens: u32,
    /// In units of 64 tokens: how much the pool had taken in when this was last used.
    clock: u32,
    kids: u16,
    pins: u16,
}

impl Node {
    /// A request uses it from now on; the answer is what lies above it.
    fn take(&mut self, now: Moment, clock: u32) -> u32 {
        (self.last, self.clock) = (now, clock);
        self.pins = self.pins.saturating_add(1);
        self.parent
    }
}

/// The pool of one model on one server.
#[derive(Debug)]
pub(crate) struct Pool {
    /// What the server told, or was guessed.
    told: u32,
    capacity: u64,
    used: u64,
    taken_in: u64,
    nodes: Vec<Node>,
    spare: Vec<u32>,
    table: Table,
    /// Nodes that nothing hangs at and no request uses, by when they were last used.
    leaves: BTreeSet<(Moment, u32)>,
    /// What is in use, and how many blocks of it were there before.
    running: BTreeMap<TicketId, (Chain, usize)>,
}

impl Pool {
    pub(crate) fn new(capacity: u32) -> Self {
        Pool {
            told: capacity,
            capacity: u64::from(capacity).clamp(TOKENS_MIN, TOKENS_MAX),
            used: 0,
            taken_in: 0,
            nodes: Vec::new(),
            spare: Vec::new(),
            table: Table::default(),
            leaves: BTreeSet::new(),
            running: BTreeMap::new(),
        }
    }

    /// Blocks that are remembered.
    pub(crate) fn records(&self) -> usize {
        self.nodes.len() - self.spare.len()
    }

    pub(crate) fn clear(&mut self) {
        while self.forget_oldest() {}
        if self.running.is_empty() {
            self.table.clear();
            self.nodes.clear();
            self.spare.clear();
        }
    }

    /// How many tokens of the prompt are there.
    pub(crate) fn cached(&self, prompt: &Chain) -> u32 {
        self.tokens_there(prompt, self.blocks_there(prompt))
    }

    fn blocks_there(&self, prompt: &Chain) -> usize {
        prompt.first(|hash| self.find(hash).is_some())
    }

    /// Tokens of so many blocks that are there, and of the answer behind them.
    fn tokens_there(&self, prompt: &Chain, blocks: usize) -> u32 {
        let tokens = prompt.tokens_of(blocks);
        let behind = prompt.answer_behind(blocks);
        if blocks == 0 || behind == 0 {
            return tokens;
        }
        let answer = self.find(prompt.hash_at(blocks - 1) ^ ANSWER);
        tokens + answer.map_or(0, |answer| self.node(answer).tokens.min(behind))
    }

    pub(crate) fn peek(&self, prompt: &Chain) -> Warm {
        let blocks = self.blocks_there(prompt);
        let deepest = blocks.checked_sub(1).and_then(|block| self.find(prompt.hash_at(block)));
        Warm { cached: self.tokens_there(prompt, blocks), blocks, deepest, ..Warm::default() }
    }

    /// The server holds more, or less, than was thought.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.capacity = ((self.capacity as f64 * factor) as u64).clamp(TOKENS_MIN, TOKENS_MAX);
        self.trim();
    }

    /// The server says how much it holds: what was learned counts while it says the same. The answer is whether it does not.
    pub(crate) fn tell(&mut self, told: u32) -> bool {
        if self.told == told {
            return false;
        }
        self.told = told;
        self.capacity = u64::from(told).clamp(TOKENS_MIN, TOKENS_MAX);
        self.trim();
        true
    }

    /// A request starts of whose prompt `peek` found this. The answer is how many tokens were taken in since that was last
    /// used, in parts of the capacity.
    pub(crate) fn start(&mut self, ticket: TicketId, prompt: Chain, warm: Warm, now: Moment) -> f64 {
        let since = |place| self.clock().wrapping_sub(self.node(place).clock);
        let distance =
            warm.deepest.map_or(0.0, |place| f64::from(since(place)) * 64.0 / self.capacity as f64);
        self.insert(&prompt, warm.blocks, warm.deepest.unwrap_or(NONE), now);
        self.running.insert(ticket, (prompt, warm.blocks));
        self.trim();
        distance
    }

    /// A request ended, with so many tokens answered; `None` when it never reached the server, which has no more than before.
    pub(crate) fn finish(&mut self, ticket: TicketId, answer: Option<u32>, now: Moment) {
        let Some((prompt, before)) = self.running.remove(&ticket) else { return };
        let end = prompt.hash().and_then(|hash| self.find(hash));
        if let (Some(end), Some(answer)) = (end, answer.filter(|answer| *answer > 0)) {
            self.hang(end, answer, now);
        }
        let mut below = NONE;
        for block in (0..prompt.len()).rev() {
            if let Some(place) = self.above(below, prompt.hash_at(block)) {
                self.touch(place, now);
                self.unpin(place);
                below = place;
                if answer.is_none() && block >= before && self.leaves.remove(&(now, place)) {
                    self.remove(place);
                    below = NONE;
                }
            }
        }
        self.trim();
    }

    /// What the server forgets when the prompt and an answer of so many tokens come in.
    pub(crate) fn displaced(
        &self,
        prompt: &Chain,
        cached: u32,
        answer: u32,
        now: Moment,
        lost: &mut Vec<Lost>,
    ) {
        let needed = (u64::from(prompt.tokens()) + u64::from(answer)).saturating_sub(cached.into());
        let mut over = needed.saturating_sub(self.capacity.saturating_sub(self.used));
        for (_, leaf) in self.leaves.iter().take(LEAVES_SEEN_MAX) {
            if over == 0 {
                break;
            }
            let mut place = *leaf;
            // each end of a sequence with what only it needs
            while place != NONE && over > 0 {
                let node = self.node(place);
                if node.pins > 0 || node.kids > 1 {
                    break;
                }
                let tokens = u64::from(node.tokens).min(over);
                lost.push(Lost { tokens: tokens as u32, age: now.since(node.last) });
                over -= tokens;
                place = node.parent;
            }
        }
    }

    /// Forgets the end of a sequence that was not used for longest; false when requests use all that is left.
    pub(crate) fn forget_oldest(&mut self) -> bool {
        let Some((_, place)) = self.leaves.pop_first() else { return false };
        self.remove(place);
        true
    }

    /// Takes out a node that is no leaf any more.
    fn remove(&mut self, place: u32) {
        let Node { hash, tokens, parent, .. } = *self.node(place);
        let nodes = &self.nodes;
        self.table.remove(hash, |place| nodes[place as usize].hash);
        self.used -= u64::from(tokens);
        self.spare.push(place);
        if parent != NONE {
            let above = &mut self.nodes[parent as usize];
            // one that had more than can be counted stays
            above.kids -= u16::from(above.kids < u16::MAX);
            if above.kids == 0 && above.pins == 0 {
                self.leaves.insert((above.last, parent));
            }
        }
    }

    fn trim(&mut self) {
        while self.used > self.capacity && self.forget_oldest() {}
    }

    /// Takes in a prompt, of which so many blocks are there down to `deepest`, and pins it.
    fn insert(&mut self, prompt: &Chain, blocks: usize, deepest: u32, now: Moment) {
        let clock = self.clock();
        let mut above = deepest;
        for hash in prompt.hashes(blocks).rev() {
            // what lies above is thought to be the block before; hashes that meet by accident are looked up
            above = match self.nodes.get_mut(above as usize) {
                Some(node) if node.hash == hash && node.kids > 0 => node.take(now, clock),
                _ => match self.find(hash) {
                    Some(place) => self.take(place, now, clock),
                    None => above,
                },
            };
        }
        let mut parent = deepest;
        for block in blocks..prompt.len() {
            let hash = prompt.hash_at(block);
            let place = match self.find(hash) {
                Some(place) => {
                    self.take(place, now, self.clock());
                    place
                }
                None => {
                    // the text of the answer is here: what stood for it goes
                    if prompt.own(block) && block > 0 {
                        self.drop_answer(prompt.hash_at(block - 1));
                    }
                    let place = self.add(hash, parent, prompt.tokens_at(block), now);
                    self.nodes[place as usize].pins = 1;
                    self.touch(place, now);
                    place
                }
            };
            parent = place;
        }
    }

    /// Where a hash is that is thought to be right above a place; hashes that meet by accident are looked up.
    fn above(&self, below: u32, hash: u64) -> Option<u32> {
        let parent = if below == NONE { NONE } else { self.node(below).parent };
        match parent {
            NONE => self.find(hash),
            parent if self.node(parent).hash == hash => Some(parent),
            _ => self.find(hash),
        }
    }

    /// As of a node, of one that may be a leaf until now.
    fn take(&mut self, place: u32, now: Moment, clock: u32) -> u32 {
        let node = &mut self.nodes[place as usize];
        if node.kids == 0 && node.pins == 0 {
            self.leaves.remove(&(node.last, place));
        }
        node.take(now, clock)
    }

    fn hang(&mut self, end: u32, answer: u32, now: Moment) {
        let hash = self.node(end).hash ^ ANSWER;
        match self.find(hash) {
            Some(place) => {
                self.touch(place, now);
                let before = std::mem::replace(&mut self.nodes[place as usize].tokens, answer);
                self.used = self.used - u64::from(before) + u64::from(answer);
                self.leaves.insert((now, place));
            }
            None => {
                let place = self.add(hash, end, answer, now);
                self.leaves.insert((now, place));
            }
        }
    }

    fn drop_answer(&mut self, prompt: u64) {
        let Some(place) = self.find(prompt ^ ANSWER) else { return };
        if self.leaves.remove(&(self.node(place).last, place)) {
            self.remove(place);
        }
    }

    fn add(&mut self, hash: u64, parent: u32, tokens: u32, now: Moment) -> u32 {
        let node = Node { hash, last: now, parent, tokens, clock: self.clock(), kids: 0, pins: 0 };
        let place = match self.spare.pop() {
            Some(place) => {
                self.nodes[place as usize] = node;
                place
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        let nodes = &self.nodes;
        self.table.insert(hash, place, |place| nodes[place as usize].hash);
        self.used += u64::from(tokens);
        self.taken_in += u64::from(tokens);
        if parent != NONE {
            let above = &mut self.nodes[parent as usize];
            if above.kids == 0 && above.pins == 0 {
                self.leaves.remove(&(above.last, parent));
            }
            above.kids = above.kids.saturating_add(1);
        }
        place
    }

    /// It is used now, and no longer free to go until it is unpinned.
    fn touch(&mut self, place: u32, now: Moment) {
        let clock = self.clock();
        let node = &mut self.nodes[place as usize];
        if node.kids == 0 && node.pins == 0 {
            self.leaves.remove(&(node.last, place));
        }
        (node.last, node.clock) = (now, clock);
    }

    fn unpin(&mut self, place: u32) {
        let node = &mut self.nodes[place as usize];
        node.pins = node.pins.saturating_sub(1);
        if node.pins == 0 && node.kids == 0 {
            self.leaves.insert((node.last, place));
        }
    }

    fn find(&self, hash: u64) -> Option<u32> {
        self.table.get(hash, |place| self.nodes[place as usize].hash)
    }

    fn node(&self, place: u32) -> &Node {
        &self.nodes[place as usize]
    }

    fn clock(&self) -> u32 {
        (self.taken_in / 64) as u32
    }
}
