//! Which target of a route a request goes to first, where the targets have weights.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Found;

/// The weights of a route's targets, and whose turn it is. One at least is not 0.
#[derive(Debug)]
pub struct Shares {
    weights: Box<[u32]>,
    /// Targets take turns, whatever a request is; `None`: what a conversation begins with draws.
    turns: Option<Mutex<Turns>>,
}

/// How often each target was chosen, in this round of as many choices as all weights together.
#[derive(Debug, Default)]
struct Turns {
    chosen: Box<[u64]>,
    all: u64,
}

impl Shares {
    /// Of targets in order, in turn or by draw; `None` where the weights say nothing.
    #[must_use]
    pub fn new(weights: &[Option<u32>], in_turn: bool) -> Option<Self> {
        if !in_turn && weights.iter().all(Option::is_none) {
            return None;
        }
        let weights: Box<[u32]> = weights.iter().map(|weight| weight.unwrap_or(1)).collect();
        let turns =
            in_turn.then(|| Mutex::new(Turns { chosen: weights.iter().map(|_| 0).collect(), all: 0 }));
        weights.iter().any(|weight| *weight > 0).then_some(Self { weights, turns })
    }

    /// Whether they share out as others do.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.weights == other.weights && self.turns.is_some() == other.turns.is_some()
    }

    fn sum(&self) -> u64 {
        self.weights.iter().map(|weight| u64::from(*weight)).sum()
    }

    /// What stands for a request from now on: the next turn, or what `begins` it.
    #[must_use]
    pub fn draw(&self, begins: u64) -> u64 {
        let Some(turns) = &self.turns else { return mix(begins) };
        // After a panic elsewhere the counts are still the best there are.
        let target = turns.lock().unwrap_or_else(PoisonError::into_inner).next(&self.weights, self.sum());
        let before: u64 = self.weights[..target].iter().map(|weight| u64::from(*weight)).sum();
        let middle = (u128::from(before) << 64) + (u128::from(self.weights[target]) << 63);
        u64::try_from(middle / u128::from(self.sum())).unwrap_or(u64::MAX)
    }

    /// The target that a draw falls to.
    fn target(&self, draw: u64) -> usize {
        let mut at = (u128::from(draw) * u128::from(self.sum())) >> 64;
        let falls = |weight: &u32| match at.checked_sub(u128::from(*weight)) {
            Some(left) => {
                at = left;
                false
            }
            None => true,
        };
        self.weights.iter().position(falls).expect("a draw lies below the sum of the weights")
    }

    /// When a target is taken, beside the one that was drawn: 0 at once, 1 in its stead, 2 in that of all others.
    fn reserve(&self, target: usize, drawn: usize) -> u8 {
        match self.weights.get(target) {
            _ if target == drawn => 0,
            Some(0) | None => 2,
            Some(_) => 1,
        }
    }
}

impl Turns {
    /// Of the targets that are not ahead of their share, the one that must be next first. Each is so within one request
    /// of its share at any time (earliest deadline first over the windows of Baruah et al., "Proportionate progress").
    fn next(&mut self, weights: &[u32], sum: u64) -> usize {
        let due = |target: &usize| self.chosen[*target] * sum < (self.all + 1) * u64::from(weights[*target]);
        let sooner = |a: &usize, b: &usize| {
            let end = |one: usize, other: usize| (self.chosen[one] + 1) * u64::from(weights[other]);
            end(*a, *b).cmp(&end(*b, *a))
        };
        let target =
            (0..weights.len()).filter(due).min_by(sooner).expect("shares add up to one, so one is due");
        self.chosen[target] += 1;
        self.all += 1;
        if self.all == sum {
            self.chosen.fill(0);
            self.all = 0;
        }
        target
    }
}

impl Found {
    /// Whether what a request begins with decides on its target.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.shares.as_ref().is_some_and(|shares| shares.turns.is_none())
    }

    /// What stands for a request among those of its route; `begins` where turns have no say.
    #[must_use]
    pub fn draw(&self, begins: u64) -> u64 {
        self.shares.as_ref().map_or_else(|| mix(begins), |shares| shares.draw(begins))
    }

    /// Puts first those of the target that `draw` falls to, and the others in reserve. A server that has several names
    /// for it keeps the first.
    pub fn prefer(&mut self, draw: u64) {
        self.drawn = draw;
        let Some(shares) = &self.shares else { return };
        let drawn = shares.target(draw);
        for candidate in &mut self.candidates {
            candidate.reserve = shares.reserve(usize::from(candidate.target), drawn);
        }
        self.candidates.sort_by_key(|candidate| candidate.reserve);
        let mut seen = Vec::with_capacity(self.candidates.len());
        self.candidates.retain(|candidate| {
            let new = !seen.contains(&candidate.backend.id);
            seen.push(candidate.backend.id);
            new
        });
    }
}

/// A number that looks random: the steps of splitmix64 (Steele, Lea and Flood 2014).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Keeps what turn it is of routes that stay as they are: snapshots come often.
#[derive(Debug, Default)]
pub struct Kept(BTreeMap<String, Arc<Shares>>);

impl Kept {
    /// The shares of a route, as they went on so far.
    pub fn keep(&mut self, route: &str, shares: Shares) -> Arc<Shares> {
        match self.0.get(route) {
            Some(kept) if kept.same(&shares) => kept.clone(),
            _ => {
                let shares = Arc::new(shares);
                self.0.insert(route.to_owned(), shares.clone());
                shares
            }
        }
    }

    /// Forgets the routes that `stays` does not name.
    pub fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.0.retain(|route, _| stays(route));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32]) -> impl FnMut() -> usize {
        let weights: Vec<Option<u32>> = weights.iter().copied().map(Some).collect();
        let shares = Shares::new(&weights, true).expect("weights");
        move || shares.target(shares.draw(7))
    }

    #[test]
    fn in_turn_each_is_within_one_of_its_share_at_any_time() {
        let many: Vec<u32> = (1..=64).map(|number| number * 13 % 1000).collect();
        for weights in [&[9, 1][..], &[1, 1, 1], &[1000, 1], &[0, 5, 0, 3, 1], &[3, 3, 2, 2, 1, 1, 1], &many]
        {
            let (mut next, sum) = (turns(weights), weights.iter().sum::<u32>());
            let mut chosen = vec![0u32; weights.len()];
            for all in 1..=3 * sum.min(20_000) {
                chosen[next()] += 1;
                for (target, weight) in weights.iter().enumerate() {
                    let off =
                        f64::from(chosen[target]) - f64::from(all) * f64::from(*weight) / f64::from(sum);
                    assert!(off.abs() < 1.0, "{weights:?}: target {target} is {off} off after {all}");
                }
            }
        }
    }

    #[test]
    fn draws_fall_as_the_weights_say() {
        let shares = Shares::new(&[Some(90), None, Some(0), Some(9)], false).expect("weights");
        let mut fallen = [0u32; 4];
        for begins in 0..100_000 {
            fallen[shares.target(shares.draw(begins))] += 1;
        }
        for (fallen, wanted) in fallen.iter().zip([90_000, 1_000, 0, 9_000]) {
            assert!(fallen.abs_diff(wanted) <= wanted / 10, "{fallen} for {wanted}");
        }
        assert_eq!((shares.target(0), shares.target(u64::MAX)), (0, 3));
        assert_eq!(shares.draw(5), shares.draw(5), "a conversation stays");
    }

    #[test]
    fn who_has_drawn_the_smaller_part_stays_there_as_it_grows() {
        let part = |canary| Shares::new(&[Some(100 - canary), Some(canary)], false).expect("weights");
        let (small, large) = (part(5), part(20));
        for begins in 0..10_000 {
            let draw = small.draw(begins);
            assert!(small.target(draw) <= large.target(draw));
        }
    }

    #[test]
    fn without_weights_nothing_is_shared_out() {
        assert!(Shares::new(&[None, None], false).is_none());
        assert!(Shares::new(&[Some(0), Some(0)], false).is_none());
        let equal = Shares::new(&[None, None], true).expect("targets in turn");
        let chosen: Vec<usize> = (0..4).map(|_| equal.target(equal.draw(1))).collect();
        assert_eq!(chosen, [0, 1, 0, 1]);
    }

    #[test]
    fn a_route_that_stays_as_it_is_goes_on_where_it_was() {
        let mut kept = Kept::default();
        let shares = |weight| Shares::new(&[Some(weight), Some(1)], true).expect("weights");
        let first = kept.keep("r", shares(9));
        assert!(Arc::ptr_eq(&first, &kept.keep("r", shares(9))));
        assert!(!Arc::ptr_eq(&first, &kept.keep("r", shares(8))));
        kept.retain(|_| false);
        assert!(kept.0.is_empty());
    }
}
