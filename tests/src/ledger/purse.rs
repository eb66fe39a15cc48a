//! What retries may cost, over every stretch of time that ends now.

use sched::Moment;

/// One retry, in the unit of this file: a hundred millionth.
const RETRY: u64 = 100_000_000;
/// What a first start earns.
const START: u64 = 20_000_000;
/// What a microsecond earns.
const MICRO: u64 = 200;
/// Retries that may have been saved up before the stretch begins.
const SAVED: u64 = 100;
/// Retries by which the order of things inside one event may blur the count.
const BLUR: u64 = 2;

/// First starts and retries in order.
#[derive(Default)]
pub struct Purse {
    log: Vec<(Moment, bool)>,
}

impl Purse {
    /// A request starts for the first time.
    pub fn start(&mut self, now: Moment) {
        self.log.push((now, false));
    }

    /// A request is to be tried once more.
    pub fn retry(&mut self, now: Moment) {
        self.log.push((now, true));
    }

    /// Whether over no stretch more was spent than could be.
    pub fn sound(&self, now: Moment) -> bool {
        self.stretches(now).all(|(spent, earned)| spent <= earned + BLUR * RETRY)
    }

    /// Whether one retry more would be too many.
    pub fn spent(&self, now: Moment) -> bool {
        self.stretches(now).any(|(spent, earned)| spent + (1 + BLUR) * RETRY > earned)
    }

    fn stretches(&self, now: Moment) -> impl Iterator<Item = (u64, u64)> {
        let (mut spent, mut earned) = (0, 0);
        self.log.iter().rev().map(move |(at, retry)| {
            spent += if *retry { RETRY } else { 0 };
            earned += if *retry { 0 } else { START };
            (spent, SAVED * RETRY + earned + (now - *at).0 * MICRO)
        })
    }
}
