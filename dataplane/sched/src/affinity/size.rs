//! How much a pool holds: as the server told, corrected by what its answers say was cached.
//!
//! What was not used for longest goes first, so whatever is gone tells of a bound: all that was used since is more than
//! the pool holds.

use super::surprise;
use crate::Moment;

/// A pool is never learned to be smaller or larger, in tokens.
const TOKENS_MIN: u64 = 20_000;
const TOKENS_MAX: u64 = 4_000_000;
/// What one answer makes of it at least and at most, in percent. One that is thought too large costs more than one that
/// is thought too small: conversations are sent to where they no longer are.
const SMALLER_PERCENT: u64 = 85;
const LARGER_PERCENT: u64 = 110;
/// Only what is missing of a pool as full as this, in percent, went for want of room.
const FULL_PERCENT: u64 = 75;
/// Where less than this part, in percent, of what a server was seen to hold was used since, it did not run out of room: it
/// was restarted. Each time what it was seen to hold counts for less, so that one which shares with others is believed.
const AMISS_PERCENT: u64 = 85;
const BELIEVED_PERCENT: u64 = 90;

/// What was there of a prompt when it started, as was thought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Tokens that were used since the last of it was, itself included.
    pub(crate) tokens: u32,
    /// When that was.
    pub(crate) last: Moment,
    /// Tokens that were thought to be in the pool.
    pub(crate) used: u32,
}

/// The capacity of one pool.
#[derive(Debug)]
pub(super) struct Size {
    /// What the server told, or was guessed.
    told: u32,
    tokens: u64,
    /// The most that it was seen to hold.
    held: u64,
    /// What was last used before this was lost at once.
    lost: Moment,
}

impl Size {
    pub(super) fn new(told: u32) -> Self {
        Size { told, tokens: u64::from(told).clamp(TOKENS_MIN, TOKENS_MAX), held: 0, lost: Moment(0) }
    }

    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// What was learned counts while the server says the same. The answer is whether it does not.
    pub(super) fn tell(&mut self, told: u32) -> bool {
        if self.told == told {
            return false;
        }
        *self = Size { lost: self.lost, ..Size::new(told) };
        true
    }

    /// Of a prompt of `total` tokens that started at `since` so many were cached, where `thought` were expected.
    pub(super) fn learn(&mut self, total: u32, (cached, thought): (u32, u32), reach: Reach, since: Moment) {
        let surprise = surprise(total);
        if cached > thought.saturating_add(surprise) {
            if u64::from(reach.used) * 100 >= self.tokens * FULL_PERCENT {
                let found = self.tokens + u64::from(cached - thought);
                self.set(found.min(self.tokens * LARGER_PERCENT / 100));
            }
            return;
        }
        if cached.saturating_add(surprise) >= thought {
            self.held = self.held.max(self.tokens.min(reach.tokens.into()));
            return;
        }
        let most = u64::from(reach.tokens.saturating_sub(thought - cached));
        if most >= self.tokens || reach.last < self.lost {
            return;
        }
        if most * 100 < self.held * AMISS_PERCENT {
            self.lost = since;
            self.held = self.held * BELIEVED_PERCENT / 100;
            return;
        }
        self.set(most.max(self.tokens * SMALLER_PERCENT / 100));
    }

    fn set(&mut self, tokens: u64) {
        self.tokens = tokens.clamp(TOKENS_MIN, TOKENS_MAX);
        self.held = self.held.min(self.tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: u32 = 400_000;

    /// A prompt of 40,000 tokens, all of it thought to be there, at `at`; so many tokens were used since it was last.
    fn ask(size: &mut Size, at: u64, cached: u32, (since, last): (u32, u64)) {
        let reach = Reach { tokens: since + 40_000, last: Moment(last), used: size.tokens() as u32 };
        size.learn(40_000, (cached, 40_000), reach, Moment(at));
    }

    #[test]
    fn what_is_gone_tells_how_much_there_is() {
        let mut size = Size::new(TOLD);
        ask(&mut size, 1, 40_000, (120_000, 0));
        for (at, expected) in (2..).zip([340_000, 289_000, 245_650, 208_802, 190_000, 190_000]) {
            // all but 30,000 of it, and what was used since, is all that there is room for
            ask(&mut size, at, 30_000, (160_000, 1));
            assert_eq!(size.tokens(), expected);
        }
        // less than is there says nothing about it
        ask(&mut size, 9, 40_000, (10_000, 1));
        assert_eq!(size.tokens(), 190_000);
    }

    #[test]
    fn more_than_was_thought_counts_where_room_was_short() {
        let mut size = Size::new(TOLD);
        let found = |size: &mut Size, used: u32| {
            size.learn(40_000, (40_000, 5_000), Reach { used, ..Reach::default() }, Moment(1));
            size.tokens()
        };
        // this process forgot nothing for want of room: it has not seen it, as after a restart
        assert_eq!(found(&mut size, 200_000), 400_000);
        assert_eq!(found(&mut size, 390_000), 435_000);
        assert_eq!(found(&mut size, 430_000), 470_000);
    }

    #[test]
    fn a_server_that_was_restarted_is_not_smaller() {
        let mut size = Size::new(TOLD);
        ask(&mut size, 1, 40_000, (200_000, 0));
        // one that was used a moment ago is gone, and then all the others that were used before
        ask(&mut size, 10, 0, (20_000, 9));
        for (at, since) in (11..).zip([50_000, 100_000, 200_000, 300_000]) {
            ask(&mut size, at, 0, (since, 8));
        }
        assert_eq!(size.tokens(), 400_000);
        // what came after that counts again
        ask(&mut size, 20, 0, (300_000, 12));
        assert_eq!(size.tokens(), 340_000);
    }

    #[test]
    fn one_that_loses_again_and_again_has_less_room() {
        let mut size = Size::new(TOLD);
        ask(&mut size, 1, 40_000, (200_000, 0));
        let mut asked = 0;
        while size.tokens() > 60_000 {
            asked += 1;
            assert!(asked < 60, "{size:?}");
            ask(&mut size, 10 * asked, 0, (50_000, 10 * asked - 1));
        }
        assert!(asked > 10, "{asked}");
    }

    #[test]
    fn what_was_learned_counts_while_the_server_says_the_same() {
        let mut size = Size::new(TOLD);
        ask(&mut size, 1, 0, (300_000, 0));
        assert!(!size.tell(TOLD) && size.tokens() == 340_000);
        assert!(size.tell(TOLD / 2) && size.tokens() == 200_000);
        assert!(size.tell(1) && size.tokens() == TOKENS_MIN);
    }
}
