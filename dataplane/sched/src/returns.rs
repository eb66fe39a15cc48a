//! When conversations come back: the time from the end of an answer to the request that goes on with it.

use std::collections::{BTreeMap, VecDeque};

use crate::chain::Chain;
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

/// Times in seconds, sorted beside their order of arrival.
#[derive(Debug, Default)]
struct Gaps {
    ring: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Gaps {
    fn add(&mut self, gap: f64) {
        if self.ring.len() == GAPS_MAX
            && let Some(oldest) = self.ring.pop_front()
        {
            self.sorted.remove(self.sorted.partition_point(|known| *known < oldest));
        }
        self.ring.push_back(gap);
        self.sorted.insert(self.sorted.partition_point(|known| *known < gap), gap);
    }

    /// How many are at least so long.
    fn from(&self, age: f64) -> f64 {
        (self.sorted.len() - self.sorted.partition_point(|known| *known < age)) as f64
    }

    /// The share of those that lasted until `age` and ended within `span` from there.
    fn within(&self, age: f64, span: f64) -> f64 {
        let lasted = self.from(age);
        (lasted - self.from(age + span)) / (lasted + 1.0)
    }
}

/// What is known of how conversations go on.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    tool: Gaps,
    turn: Gaps,
    all: Gaps,
    /// By the hash of the whole prompt that was answered.
    ended: BTreeMap<u64, (Moment, End)>,
    order: VecDeque<(Moment, u64)>,
}

impl Returns {
    /// A prompt was answered.
    pub(crate) fn ended(&mut self, prompt: &Chain, end: End, now: Moment) {
        let Some(hash) = prompt.hash() else { return };
        self.ended.insert(hash, (now, end));
        self.order.push_back((now, hash));
        while self.order.len() > ENDED_MAX
            || self.order.front().is_some_and(|(at, _)| now.since(*at) > AWAY_MAX)
        {
            let Some((at, hash)) = self.order.pop_front() else { break };
            if let Some((_, end)) = self.ended.get(&hash).copied().filter(|(known, _)| *known == at) {
                self.ended.remove(&hash);
                self.gap(f64::INFINITY, end);
            }
        }
    }

    /// A request came: it may go on with a prompt that was answered.
    pub(crate) fn arrived(&mut self, prompt: &Chain, now: Moment) {
        if self.ended.is_empty() {
            return;
        }
        for block in (prompt.len().saturating_sub(BLOCKS_BEHIND_MAX)..prompt.len()).rev() {
            if let Some((at, end)) = self.ended.remove(&prompt.hash_at(block)) {
                return self.gap(now.since(at).secs(), end);
            }
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
        [own, &self.all].into_iter().find(|gaps| gaps.ring.len() >= GAPS_MIN)
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
        assert_eq!((returns.ended.len(), returns.order.len()), (1, 1));
    }
}
