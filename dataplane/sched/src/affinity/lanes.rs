//! The cache of a server that keeps one sequence a slot, and perhaps a list of whole sequences in host memory.

use std::collections::VecDeque;

use super::{Lost, Warm};
use crate::chain::{Chain, Overlap, Sequence};
use crate::returns::End;
use crate::{Moment, Span, TicketId};

/// A slot is taken for what it holds when more than this share of the prompt is there (llama.cpp's
/// `--slot-prompt-similarity`), in percent.
const SIMILAR_PERCENT: u64 = 10;

/// One slot of the server, as it is thought to be.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) held: Sequence,
    pub(crate) ticket: Option<TicketId>,
    /// When it was last used.
    pub(crate) last: Moment,
    /// Since when one conversation has had it.
    pub(crate) tenure: Moment,
    /// How the last answer in it ended.
    pub(crate) end: End,
}

#[derive(Debug)]
struct Saved {
    held: Sequence,
    last: Moment,
}

/// All slots of one model on one server.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// What host memory holds, oldest first; bounded by its tokens.
    saved: VecDeque<Saved>,
    saved_tokens: u64,
    ram: u64,
}

impl Lanes {
    /// The server has so many slots and so much host memory; the answer is whether that is new.
    pub(crate) fn resize(&mut self, slots: usize, ram: u32) -> bool {
        if (self.lanes.len(), self.ram) == (slots, ram.into()) {
            return false;
        }
        self.ram = ram.into();
        while self.lanes.len() > slots && self.lanes.last().is_some_and(|lane| lane.ticket.is_none()) {
            self.lanes.pop();
        }
        while self.lanes.len() < slots {
            self.lanes.push(Lane::default());
        }
        self.trim();
        true
    }

    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// What host memory holds: the tokens of each sequence, and when it was last used.
    pub(crate) fn saved(&self) -> impl Iterator<Item = (u32, Moment)> {
        self.saved.iter().map(|saved| (saved.held.tokens(), saved.last))
    }

    pub(crate) fn keeps_evicted(&self) -> bool {
        self.ram > 0
    }

    /// Blocks that are remembered.
    pub(crate) fn records(&self) -> usize {
        let saved = self.saved.iter().map(|saved| saved.held.prompt.len());
        self.lanes.iter().map(|lane| lane.held.prompt.len()).chain(saved).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.saved.clear();
        self.saved_tokens = 0;
        for lane in &mut self.lanes {
            lane.held = Sequence::default();
        }
    }

    /// Forgets what was not used for longest; false when nothing is left that no request uses.
    pub(crate) fn forget_oldest(&mut self) -> bool {
        if let Some(saved) = self.saved.pop_front() {
            self.saved_tokens -= u64::from(saved.held.tokens());
            return true;
        }
        let idle = self.lanes.iter_mut().filter(|lane| lane.ticket.is_none() && lane.held.prompt.len() > 0);
        let oldest = idle.min_by_key(|lane| lane.last);
        oldest.map(|lane| lane.held = Sequence::default()).is_some()
    }

    /// Which slot the server would take now, and how much of the prompt is there or in host memory: the longest
    /// common prefix if it is not short, else the slot that was not used for longest.
    pub(crate) fn peek(&self, prompt: &Chain, total: u32) -> Option<Warm> {
        let idle = || self.lanes.iter().enumerate().filter(|(_, lane)| lane.ticket.is_none());
        let (first, held) = idle().next()?;
        let (mut lane, mut overlap) = (first, held.held.overlap(prompt));
        for (index, other) in idle().skip(1) {
            if let Some(more) = other.held.overlap_above(prompt, overlap) {
                (lane, overlap) = (index, more);
            }
        }
        let mut here = overlap.tokens;
        if u64::from(here) * 100 <= u64::from(total.max(1)) * SIMILAR_PERCENT {
            let (oldest, kept) = idle().min_by_key(|(_, lane)| lane.last)?;
            if oldest != lane {
                (lane, overlap) = (oldest, kept.held.overlap(prompt));
                here = overlap.tokens;
            }
        }
        let saved = self.saved.iter().map(|saved| &saved.held);
        let most = longest(saved, prompt, overlap);
        let saved = if most > here { most } else { 0 };
        Some(Warm { lane, cached: most, saved, here, blocks: overlap.blocks, deepest: None })
    }

    /// The most of the prompt that host memory or an idle slot holds: what a slot that comes free could start with.
    pub(crate) fn anywhere(&self, prompt: &Chain) -> u32 {
        if self.ram == 0 {
            return 0;
        }
        let idle = self.lanes.iter().filter(|lane| lane.ticket.is_none()).map(|lane| &lane.held);
        longest(self.saved.iter().map(|saved| &saved.held).chain(idle), prompt, Overlap::default())
    }

    /// A request starts where `peek` said; the answer is what it displaced there, to be put back should the request
    /// not reach the server.
    pub(crate) fn start(
        &mut self,
        ticket: TicketId,
        prompt: Chain,
        warm: Warm,
        now: Moment,
    ) -> Option<Sequence> {
        let lane = self.lanes.get_mut(warm.lane)?;
        let goes_on = warm.blocks > 0 && warm.blocks == lane.held.prompt.len();
        let held = Sequence { prompt: prompt.clone(), answer: 0 };
        let before = std::mem::replace(&mut lane.held, held);
        let last = std::mem::replace(&mut lane.last, now);
        lane.ticket = Some(ticket);
        if !goes_on {
            lane.tenure = now;
        }
        let tokens = before.tokens();
        if self.ram > 0 && tokens > 0 && u64::from(warm.here) * 2 < u64::from(tokens) {
            self.saved_tokens += u64::from(tokens);
            self.saved.push_back(Saved { held: before.clone(), last });
            self.trim();
        }
        if warm.saved > 0 {
            // of those that have as much in common, as of one system prompt, the server takes the first
            let common = |index: &usize| self.saved[*index].held.common(&prompt);
            let most = (0..self.saved.len()).rev().max_by_key(common);
            if let Some(saved) = most.and_then(|index| self.saved.remove(index)) {
                self.saved_tokens -= u64::from(saved.held.tokens());
            }
        }
        Some(before)
    }

    /// The request in it ended, with so many tokens answered.
    pub(crate) fn finish(&mut self, ticket: TicketId, answer: u32, end: End, now: Moment) {
        if let Some(lane) = self.of(ticket) {
            lane.ticket = None;
            lane.held.answer = answer;
            (lane.last, lane.end) = (now, end);
        }
    }

    /// A slot has held this since `at`: the one whose content it goes on from, else the one that was not used for longest,
    /// unless all were used later; then host memory has it, if there is any.
    pub(crate) fn recollect(&mut self, held: Sequence, end: End, at: Moment) {
        let idle = || self.lanes.iter().enumerate().filter(|(_, lane)| lane.ticket.is_none());
        let goes_on = |lane: &Lane| {
            let blocks = lane.held.prompt.len();
            blocks > 0 && held.prompt.common(&lane.held.prompt) == blocks
        };
        let earlier = idle().find(|(_, lane)| goes_on(lane));
        let oldest = || idle().filter(|(_, lane)| lane.last <= at).min_by_key(|(_, lane)| lane.last);
        match earlier.or_else(oldest).map(|(index, _)| index) {
            Some(index) => {
                let lane = &mut self.lanes[index];
                (lane.held, lane.last, lane.end) = (held, lane.last.max(at), end);
            }
            None if self.ram > 0 => {
                self.saved_tokens += u64::from(held.tokens());
                self.saved.push_back(Saved { held, last: at });
                self.trim();
            }
            None => {}
        }
    }

    /// The request never reached the server.
    pub(crate) fn undo(&mut self, ticket: TicketId, before: Sequence) {
        if let Some(lane) = self.of(ticket) {
            lane.ticket = None;
            lane.held = before;
        }
    }

    fn of(&mut self, ticket: TicketId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.ticket == Some(ticket))
    }

    /// What the server forgets when a prompt starts in a slot that holds `held`, `idle` long unused, and has `common` of it
    /// there or `saved` in host memory.
    pub(crate) fn displaced(
        &self,
        held: &Sequence,
        idle: Span,
        (common, saved): (u32, u32),
        now: Moment,
        lost: &mut Vec<Lost>,
    ) {
        let (tokens, common) = (u64::from(held.tokens()), u64::from(common));
        if tokens == common {
            return;
        }
        // a slot that keeps half of it or more is not saved before it is cut
        if self.ram == 0 || common * 2 >= tokens {
            return lost.push(Lost { tokens: (tokens - common) as u32, age: idle });
        }
        if tokens > self.ram {
            return lost.push(Lost { tokens: tokens as u32, age: idle });
        }
        let mut over = (self.saved_tokens.saturating_sub(saved.into()) + tokens).saturating_sub(self.ram);
        for saved in &self.saved {
            if over == 0 {
                break;
            }
            let tokens = saved.held.tokens();
            lost.push(Lost { tokens, age: now.since(saved.last) });
            over = over.saturating_sub(tokens.into());
        }
    }

    fn trim(&mut self) {
        while self.saved_tokens > self.ram
            && let Some(saved) = self.saved.pop_front()
        {
            self.saved_tokens -= u64::from(saved.held.tokens());
        }
    }
}

/// The tokens of the longest overlap of a prompt with one of these, or with what it had before.
fn longest<'a>(held: impl Iterator<Item = &'a Sequence>, prompt: &Chain, most: Overlap) -> u32 {
    held.fold(most, |most, held| held.overlap_above(prompt, most).unwrap_or(most)).tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Block;

    /// A thousand tokens a letter.
    fn chain(text: &str) -> Chain {
        let mut hash = 0u64;
        Chain::new(text.bytes().map(|byte| {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
            Block { hash, tokens: 1000, own: false }
        }))
    }

    /// A prompt is answered. What that makes the server forget, and how much of it was there.
    fn answer(lanes: &mut Lanes, ticket: u64, text: &str) -> (Vec<u32>, u32) {
        let (prompt, mut lost) = (chain(text), Vec::new());
        let warm = lanes.peek(&prompt, prompt.tokens()).unwrap();
        let held = lanes.lanes()[warm.lane].held.clone();
        lanes.displaced(&held, Span::ZERO, (warm.here, warm.saved), Moment(0), &mut lost);
        lanes.start(TicketId(ticket), prompt, warm, Moment(ticket));
        lanes.finish(TicketId(ticket), 0, End::Tool, Moment(ticket));
        (lost.iter().map(|lost| lost.tokens).collect(), warm.cached)
    }

    #[test]
    fn of_those_with_one_beginning_the_first_comes_back_from_memory() {
        let mut lanes = Lanes::default();
        lanes.resize(1, 100_000);
        for (ticket, text) in (0..).zip(["sabc", "sdef", "xyz", "sghi"]) {
            answer(&mut lanes, ticket, text);
        }
        // the last came upon nothing in the slot, and took the first that begins as it does
        assert_eq!(lanes.anywhere(&chain("sabc")), 1000);
        assert_eq!(lanes.anywhere(&chain("sdef")), 4000);
    }

    #[test]
    fn what_is_told_to_be_lost_is_not_there_when_it_is_wanted() {
        for (ram, first, other, lost, cached) in [
            // nothing in common: saved where there is room
            (0, "abcd", "wxyz", vec![4000], 0),
            (9_000, "abcd", "wxyz", vec![], 4000),
            (3_000, "abcd", "wxyz", vec![4000], 0),
            // less than half stays: as before
            (9_000, "abcd", "axyz", vec![], 4000),
            // half or more stays: the rest is cut off, memory or not
            (0, "abcd", "abyz", vec![2000], 2000),
            (9_000, "abcd", "abyz", vec![2000], 2000),
            (9_000, "abcd", "abcz", vec![1000], 3000),
            // it goes on
            (9_000, "abcd", "abcdef", vec![], 4000),
        ] {
            let mut lanes = Lanes::default();
            lanes.resize(1, ram);
            answer(&mut lanes, 1, first);
            assert_eq!(answer(&mut lanes, 2, other).0, lost, "{ram} {first} {other}");
            assert_eq!(answer(&mut lanes, 3, first).1, cached, "{ram} {first} {other}");
        }
    }
}
