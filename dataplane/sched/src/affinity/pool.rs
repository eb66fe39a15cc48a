//! The cache of a server that shares one pool of blocks over all its slots: what was not used for longest goes first,
//! from the ends of sequences inwards.

use std::collections::{BTreeMap, BTreeSet};

use super::ages::{Ages, Stamp};
use super::size::{Reach, Size};
use super::table::Table;
use super::{Lost, Warm};
use crate::chain::Chain;
use crate::{Moment, TicketId};

/// No node.
const NONE: u32 = u32::MAX;
/// How many ends of sequences are looked at to tell what a start would displace.
const LEAVES_SEEN_MAX: usize = 24;
/// What is used within this part of the capacity counts as used at one time.
const SPAN_PARTS: u64 = 32;
/// What an answer is called: its text is not known, so it hangs at the prompt that it answers.
const ANSWER: u64 = 0xA5A5_5A5A_A5A5_5A5A;

#[derive(Clone, Debug)]
struct Node {
    hash: u64,
    last: Moment,
    parent: u32,
    tokens: u32,
    /// When that was, while no request uses it.
    stamp: Stamp,
    kids: u16,
    pins: u16,
}

/// The pool of one model on one server.
#[derive(Debug)]
pub(crate) struct Pool {
    size: Size,
    used: u64,
    /// Of that, what requests use.
    pinned: u64,
    ages: Ages,
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
            size: Size::new(capacity),
            used: 0,
            pinned: 0,
            ages: Ages::default(),
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

    /// Of a prompt of `total` tokens that started at `since` so many were cached, where `thought` were expected.
    pub(crate) fn learn(&mut self, total: u32, told: (u32, u32), reach: Reach, since: Moment) {
        self.size.learn(total, told, reach, since);
        self.trim();
    }

    /// The server says how much it holds. The answer is whether that is new.
    pub(crate) fn tell(&mut self, told: u32) -> bool {
        let new = self.size.tell(told);
        self.trim();
        new
    }

    /// A request starts of whose prompt `peek` found this. The answer is how far back that lies.
    pub(crate) fn start(&mut self, ticket: TicketId, prompt: Chain, warm: Warm, now: Moment) -> Reach {
        let used = self.used as u32;
        let reach = warm.deepest.map_or(Reach { used, ..Reach::default() }, |place| {
            let node = self.node(place);
            let idle = if node.pins > 0 { 0 } else { self.ages.since(node.stamp) };
            Reach { tokens: (self.pinned + idle) as u32, last: node.last, used }
        });
        self.ages.turn(self.size.tokens() / SPAN_PARTS);
        self.insert(&prompt, warm.blocks, warm.deepest.unwrap_or(NONE), now);
        self.running.insert(ticket, (prompt, warm.blocks));
        self.trim();
        reach
    }

    /// A request ended, with so many tokens answered; `None` when it never reached the server, which has no more than before.
    pub(crate) fn finish(&mut self, ticket: TicketId, answer: Option<u32>, now: Moment) {
        let Some((prompt, before)) = self.running.remove(&ticket) else { return };
        self.ages.turn(self.size.tokens() / SPAN_PARTS);
        let end = prompt.hash().and_then(|hash| self.find(hash));
        if let (Some(end), Some(answer)) = (end, answer.filter(|answer| *answer > 0)) {
            self.hang(end, answer, now);
        }
        let (mut below, mut idle, stamp) = (NONE, 0, self.ages.now());
        for block in (0..prompt.len()).rev() {
            if let Some(place) = self.above(below, prompt.hash_at(block)) {
                idle += self.unpin(place, stamp, now);
                below = place;
                if answer.is_none() && block >= before && self.leaves.remove(&(now, place)) {
                    self.idle(std::mem::take(&mut idle));
                    self.remove(place);
                    below = NONE;
                }
            }
        }
        self.idle(idle);
        self.trim();
    }

    /// Nobody uses so many tokens any more that were used until now.
    fn idle(&mut self, tokens: u64) {
        self.pinned -= tokens;
        self.ages.add(tokens);
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
        let mut over = needed.saturating_sub(self.size.tokens().saturating_sub(self.used));
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
        let Node { hash, tokens, parent, stamp, .. } = *self.node(place);
        self.ages.remove(u64::from(tokens), stamp);
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
        while self.used > self.size.tokens() && self.forget_oldest() {}
    }

    /// Takes in a prompt, of which so many blocks are there down to `deepest`, and pins it.
    fn insert(&mut self, prompt: &Chain, blocks: usize, deepest: u32, now: Moment) {
        let mut above = deepest;
        // most of a prompt was used at one time: what was is told of at once
        let mut used = (Stamp::NEVER, 0);
        for hash in prompt.hashes(blocks).rev() {
            // what lies above is thought to be the block before; hashes that meet by accident are looked up
            let place = match self.nodes.get_mut(above as usize) {
                Some(node) if node.hash == hash => {
                    // it is above one of the same time, so it is no leaf
                    if node.stamp == used.0 && node.pins == 0 {
                        (node.last, node.pins) = (now, 1);
                        used.1 += u64::from(node.tokens);
                        above = node.parent;
                        continue;
                    }
                    Some(above)
                }
                _ => self.find(hash),
            };
            if let Some(place) = place {
                used = self.pin(place, now, used);
                above = self.node(place).parent;
            }
        }
        self.taken(used);
        let mut parent = deepest;
        for block in blocks..prompt.len() {
            let hash = prompt.hash_at(block);
            let place = match self.find(hash) {
                Some(place) => {
                    let used = self.pin(place, now, (Stamp::NEVER, 0));
                    self.taken(used);
                    place
                }
                None => {
                    // the text of the answer is here: what stood for it goes
                    if prompt.own(block) && block > 0 {
                        self.drop_answer(prompt.hash_at(block - 1));
                    }
                    self.add(hash, parent, prompt.tokens_at(block), (1, now))
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

    /// A request uses it from now on. `used` is what was last used at one time, and so is the answer.
    fn pin(&mut self, place: u32, now: Moment, mut used: (Stamp, u64)) -> (Stamp, u64) {
        let node = &mut self.nodes[place as usize];
        let before = std::mem::replace(&mut node.last, now);
        node.pins = node.pins.saturating_add(1);
        if node.pins > 1 {
            return used;
        }
        let Node { kids, stamp, tokens, .. } = *node;
        if kids == 0 {
            self.leaves.remove(&(before, place));
        }
        if stamp != used.0 {
            self.taken(used);
            used = (stamp, 0);
        }
        (stamp, used.1 + u64::from(tokens))
    }

    /// Requests use so many tokens from now on that were last used then.
    fn taken(&mut self, (stamp, tokens): (Stamp, u64)) {
        self.pinned += tokens;
        self.ages.remove(tokens, stamp);
    }

    fn hang(&mut self, end: u32, answer: u32, now: Moment) {
        let hash = self.node(end).hash ^ ANSWER;
        match self.find(hash) {
            Some(place) => {
                let node = &mut self.nodes[place as usize];
                self.leaves.remove(&(node.last, place));
                self.ages.remove(u64::from(node.tokens), node.stamp);
                self.used = self.used - u64::from(node.tokens) + u64::from(answer);
                (node.tokens, node.last, node.stamp) = (answer, now, self.ages.add(answer.into()));
                self.leaves.insert((now, place));
            }
            None => {
                let place = self.add(hash, end, answer, (0, now));
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

    fn add(&mut self, hash: u64, parent: u32, tokens: u32, (pins, last): (u16, Moment)) -> u32 {
        let stamp = if pins == 0 { self.ages.add(tokens.into()) } else { Stamp::NEVER };
        self.pinned += if pins == 0 { 0 } else { u64::from(tokens) };
        let node = Node { hash, last, parent, tokens, stamp, kids: 0, pins };
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
        if parent != NONE {
            let above = &mut self.nodes[parent as usize];
            if above.kids == 0 && above.pins == 0 {
                self.leaves.remove(&(above.last, parent));
            }
            above.kids = above.kids.saturating_add(1);
        }
        place
    }

    /// A request that used it until now no longer does; the answer is how many tokens nobody uses then.
    fn unpin(&mut self, place: u32, stamp: Stamp, now: Moment) -> u64 {
        let node = &mut self.nodes[place as usize];
        // nobody uses it, or more than can be counted: it stays as it is
        if matches!(node.pins, 0 | u16::MAX) {
            return 0;
        }
        (node.last, node.pins) = (now, node.pins - 1);
        if node.pins > 0 {
            return 0;
        }
        node.stamp = stamp;
        if node.kids == 0 {
            self.leaves.insert((now, place));
        }
        u64::from(self.nodes[place as usize].tokens)
    }

    fn find(&self, hash: u64) -> Option<u32> {
        self.table.get(hash, |place| self.nodes[place as usize].hash)
    }

    fn node(&self, place: u32) -> &Node {
        &self.nodes[place as usize]
    }
}
