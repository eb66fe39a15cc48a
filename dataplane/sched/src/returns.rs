//! When conversations come back: the time from the end of an answer to the request that goes on with it.

use std::collections::VecDeque;

use crate::affinity::Table;
use crate::chain::Chain;
use crate::latest::Latest;
use crate::{Moment, Span};

/// Times that are remembered of each way to end.
const GAPS_MAX: usize = 512;
/// With fewer, a guess is made.
const GAPS_MIN: usize = 20;
/// One that is not back by then does not come back.
const AWAY_MAX: Span = Span::from_secs(300);
/// Ended conversations that are waited for.
const ENDED_MAX: usize = 16_384;
/// How many blocks from its end a request is looked at for the end of an answered prompt: behind it come the answer,
/// the results of its tool calls, and what the user says.
const BLOCKS_BEHIND_MAX: usize = 64;
/// Places in the order of ends are counted up to here, then from zero again.
const COUNT_MAX: u32 = u32::MAX >> 1;

/// How an answer ended, as far as it tells when the conversation goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With a tool call: a program answers.
    Tool,
    /// With the end of a turn, or in another way: a person answers, if anyone does.
    Turn,
    /// It was not seen.
    #[default]
    Unknown,
}

/// Times in seconds.
#[derive(Debug)]
struct Gaps(Latest<f64>);

impl Default for Gaps {
    fn default() -> Self {
        Gaps(Latest::new(GAPS_MAX))
    }
}

impl Gaps {
    fn add(&mut self, gap: f64) {
        self.0.add(gap);
    }

    /// The share of those that lasted until `age` and ended within `span` from there.
    fn within(&self, age: f64, span: f64) -> f64 {
        let sorted = self.0.sorted();
        let lasted = &sorted[sorted.partition_point(|known| *known < age)..];
        let ended = lasted.partition_point(|known| *known < age + span);
        ended as f64 / (lasted.len() as f64 + 1.0)
    }
}

/// What is known of how conversations go on.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    tool: Gaps,
    turn: Gaps,
    all: Gaps,
    /// The conversations that may go on, in the order of their ends.
    order: VecDeque<Ended>,
    /// Places in `order` as they are counted over all time, by the hash of the whole prompt that was answered. A prompt that
    /// ended twice is there with the last.
    ended: Table,
    /// What the first of `order` is counted as.
    first: u32,
}

#[derive(Debug)]
struct Ended {
    at: Moment,
    hash: u64,
    end: End,
}

impl Returns {
    /// A prompt was answered.
    pub(crate) fn ended(&mut self, prompt: &Chain, end: End, now: Moment) {
        let Some(hash) = prompt.hash() else { return };
        self.take(hash);
        let place = count(self.first, self.order.len());
        self.order.push_back(Ended { at: now, hash, end });
        let (order, first) = (&self.order, self.first);
        self.ended.insert(hash, place, |place| order[index(first, place)].hash);
        while self.order.len() > ENDED_MAX
            || self.order.front().is_some_and(|ended| now.since(ended.at) > AWAY_MAX)
        {
            let Some(&Ended { hash, end, .. }) = self.order.front() else { break };
            if self.place(hash) == Some(0) {
                self.take(hash);
                self.gap(f64::INFINITY, end);
            }
            self.order.pop_front();
            self.first = count(self.first, 1);
        }
    }

    /// Where the end of an answer to this prompt is in `order`.
    fn place(&self, hash: u64) -> Option<usize> {
        let (order, first) = (&self.order, self.first);
        self.ended.get(hash, |place| order[index(first, place)].hash).map(|place| index(first, place))
    }

    /// The conversation goes on: nothing more is waited for.
    fn take(&mut self, hash: u64) -> Option<(Moment, End)> {
        let ended = self.place(hash).map(|place| (self.order[place].at, self.order[place].end))?;
        let (order, first) = (&self.order, self.first);
        self.ended.remove(hash, |place| order[index(first, place)].hash);
        Some(ended)
    }

    /// A request came: it may go on with a prompt that was answered.
    pub(crate) fn arrived(&mut self, prompt: &Chain, now: Moment) {
        let found =
            prompt.hashes(prompt.len()).rev().take(BLOCKS_BEHIND_MAX).find_map(|hash| self.take(hash));
        if let Some((at, end)) = found {
            self.gap(now.since(at).secs(), end);
        }
    }

    /// The chance in a second that a conversation comes back now that was left for `age`.
    pub(crate) fn hazard(&self, age: f64, end: End) -> f64 {
        match self.of(end) {
            Some(gaps) => {
                let span = (age * 0.5).max(1.0);
                gaps.within(age, span) / span
            }
            None if age < 5.0 => 0.1,
            None => 0.0,
        }
    }

    /// The chance that it comes back within `span`.
    pub(crate) fn within(&self, age: f64, span: f64, end: End) -> f64 {
        match self.of(end) {
            Some(gaps) => gaps.within(age, span),
            None => 0.5 * (-age / 60.0).exp(),
        }
    }

    fn of(&self, end: End) -> Option<&Gaps> {
        let own = match end {
            End::Tool => &self.tool,
            End::Turn => &self.turn,
            End::Unknown => &self.all,
        };
        [own, &self.all].into_iter().find(|gaps| gaps.0.len() >= GAPS_MIN)
    }

    fn gap(&mut self, gap: f64, end: End) {
        match end {
            End::Tool => self.tool.add(gap),
            End::Turn => self.turn.add(gap),
            End::Unknown => {}
        }
        self.all.add(gap);
    }
}

/// What one that lies so far behind `first` is counted as.
fn count(first: u32, behind: usize) -> u32 {
    first.wrapping_add(behind as u32) & COUNT_MAX
}

/// How far it lies behind `first`.
fn index(first: u32, place: u32) -> usize {
    (place.wrapping_sub(first) & COUNT_MAX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Block;

    fn at(millis: u64) -> Moment {
        Moment(millis * 1000)
    }

    fn chain(hashes: &[u64]) -> Chain {
        Chain::new(hashes.iter().map(|hash| Block { hash: *hash, tokens: 1, own: false }))
    }

    #[test]
    fn each_way_to_end_has_its_times() {
        let mut returns = Returns::default();
        assert_eq!((returns.hazard(1.0, End::Tool), returns.hazard(9.0, End::Tool)), (0.1, 0.0));
        for turn in 0..40 {
            let (one, other) = (1000 + turn * 10, 100_000 + turn * 10);
            returns.ended(&chain(&[one]), End::Tool, at(turn * 100));
            returns.ended(&chain(&[other]), End::Turn, at(turn * 100));
            returns.arrived(&chain(&[one, 1, 2]), at(turn * 100 + 2_000));
            returns.arrived(&chain(&[other, 3]), at(turn * 100 + 40_000));
        }
        assert!(returns.within(0.0, 3.0, End::Tool) > 0.9);
        assert_eq!(returns.within(0.0, 3.0, End::Turn), 0.0);
        assert!(returns.hazard(2.0, End::Tool) > 0.9 && returns.hazard(30.0, End::Turn) > 0.05);
    }

    #[test]
    fn who_does_not_come_back_counts_too() {
        let mut returns = Returns::default();
        for turn in 0..40 {
            returns.ended(&chain(&[turn]), End::Tool, at(turn));
        }
        returns.ended(&chain(&[99]), End::Tool, at(400_000));
        assert_eq!(returns.within(0.0, 1_000.0, End::Tool), 0.0);
        assert_eq!((returns.place(99), returns.place(39), returns.order.len()), (Some(0), None, 1));
    }
}
