//! Who may come back: gaps between the end of an answer and the next request of its session.

use std::collections::{BTreeMap, VecDeque};

/// Gaps kept of each kind.
const GAPS_MAX: usize = 512;
/// Fewer gaps than this say nothing.
const GAPS_MIN: usize = 20;
/// A session is given up after so many seconds.
const GIVEN_UP_S: f64 = 300.0;
/// Sessions that are not looked through for those to give up.
const SESSIONS_KEPT: usize = 64;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a tool call.
    Tool,
    /// Complete.
    Stop,
    /// It is not known, or does not matter.
    Any,
}

impl Ending {
    /// Of an answer that ends with a tool call, or not.
    #[must_use]
    pub fn of(tool: bool) -> Self {
        if tool { Ending::Tool } else { Ending::Stop }
    }
}

/// What is known of returns.
#[derive(Clone, Debug)]
pub struct Returns {
    by_ending: bool,
    tool: Gaps,
    stop: Gaps,
    all: Gaps,
    /// Sessions that ended, and when.
    ended: BTreeMap<u64, f64>,
    endings: BTreeMap<u64, Ending>,
}

impl Returns {
    pub(super) fn new(by_ending: bool) -> Self {
        let gaps = Gaps::default;
        Returns {
            by_ending,
            tool: gaps(),
            stop: gaps(),
            all: gaps(),
            ended: BTreeMap::new(),
            endings: BTreeMap::new(),
        }
    }

    pub(super) fn arrive(&mut self, session: u64, now: f64) {
        if let Some(ended) = self.ended.remove(&session) {
            let ending = self.endings.get(&session).copied().unwrap_or(Ending::Stop);
            self.add(now - ended, ending);
        }
    }

    pub(super) fn leave(&mut self, session: u64, ending: Ending, now: f64) {
        self.ended.insert(session, now);
        self.endings.insert(session, ending);
        if self.ended.len() <= SESSIONS_KEPT {
            return;
        }
        let gone = self.ended.iter().filter(|(_, ended)| **ended < now - GIVEN_UP_S);
        for session in gone.map(|(session, _)| *session).collect::<Vec<_>>() {
            self.ended.remove(&session);
            let ending = self.endings.remove(&session).unwrap_or(Ending::Stop);
            self.add(f64::INFINITY, ending);
        }
    }

    /// How the last answer of a session ended.
    #[must_use]
    pub fn ending(&self, session: u64) -> Ending {
        let known = self.endings.get(&session).filter(|_| self.by_ending);
        known.copied().unwrap_or(Ending::Any)
    }

    /// The probability a second that a session which is idle for so long comes back now.
    #[must_use]
    pub fn hazard(&self, idle: f64, ending: Ending) -> f64 {
        let gaps = self.gaps(ending);
        if !gaps.tell() {
            return if idle < 5.0 { 0.1 } else { 0.0 };
        }
        let span = (idle * 0.5).max(1.0);
        gaps.share(idle, span) / span
    }

    /// The probability that it comes back within a time.
    #[must_use]
    pub fn within(&self, idle: f64, span: f64, ending: Ending) -> f64 {
        let gaps = self.gaps(ending);
        if !gaps.tell() {
            return 0.5 * (-idle / 60.0).exp();
        }
        gaps.share(idle, span)
    }

    fn gaps(&self, ending: Ending) -> &Gaps {
        let own = match ending {
            Ending::Tool => &self.tool,
            Ending::Stop => &self.stop,
            Ending::Any => &self.all,
        };
        if own.tell() { own } else { &self.all }
    }

    fn add(&mut self, gap: f64, ending: Ending) {
        let own = if ending == Ending::Tool { &mut self.tool } else { &mut self.stop };
        own.add(gap);
        self.all.add(gap);
    }
}

/// The last gaps, in seconds; without end for who did not come back.
#[derive(Clone, Debug, Default)]
struct Gaps {
    ring: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Gaps {
    fn add(&mut self, gap: f64) {
        self.ring.push_back(gap);
        self.sorted.insert(self.below(gap), gap);
        if self.ring.len() > GAPS_MAX
            && let Some(oldest) = self.ring.pop_front()
        {
            self.sorted.remove(self.below(oldest));
        }
    }

    fn tell(&self) -> bool {
        self.ring.len() >= GAPS_MIN
    }

    /// Of the gaps that are at least so long, the share that ends within the span.
    fn share(&self, idle: f64, span: f64) -> f64 {
        let (shorter, ended) = (self.below(idle), self.below(idle + span));
        (ended - shorter) as f64 / ((self.sorted.len() - shorter) as f64 + 1.0)
    }

    fn below(&self, gap: f64) -> usize {
        self.sorted.partition_point(|other| *other < gap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The sorted copy says what the ring does.
        #[test]
        fn shares_are_those_of_the_last_gaps(
            gaps in prop::collection::vec(prop_oneof![0.0..400.0f64, Just(f64::INFINITY)], 0..700),
            idle in 0.0..300.0f64,
            span in 0.1..100.0f64,
        ) {
            let mut known = Gaps::default();
            gaps.iter().for_each(|gap| known.add(*gap));
            let last = &gaps[gaps.len().saturating_sub(GAPS_MAX)..];
            let longer = last.iter().filter(|gap| **gap >= idle).count() as f64;
            let ended = last.iter().filter(|gap| **gap >= idle && **gap < idle + span).count() as f64;
            prop_assert_eq!(known.share(idle, span), ended / (longer + 1.0));
        }
    }

    #[test]
    fn who_stays_away_counts_as_gone() {
        let mut returns = Returns::new(true);
        for session in 0..200u64 {
            returns.leave(session, Ending::Tool, session as f64 * 10.0);
            if session % 2 == 0 {
                returns.arrive(session, session as f64 * 10.0 + 4.0);
            }
        }
        assert_eq!(returns.ending(199), Ending::Tool);
        let (soon, late) =
            (returns.within(0.0, 60.0, Ending::Tool), returns.within(10.0, 60.0, Ending::Tool));
        assert!((0.5..1.0).contains(&soon) && late == 0.0, "{soon} and {late}");
        assert!(returns.hazard(3.0, Ending::Tool) > 0.2 && returns.hazard(10.0, Ending::Tool) == 0.0);
    }
}
