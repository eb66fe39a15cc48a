//! Requests for more models than the servers hold, and with how few loads they could be served.

use std::{collections::BTreeSet, sync::Mutex};

use futures_util::future::join_all;
use serde_json::json;

use super::{Asked as _, fleet::Fleet, words};
use crate::slow_parts::Chance;

/// The most requests for one model in a row.
const ROW_MAX: u64 = 9;

/// Models in the order in which they are asked for, in rows of the same one.
pub fn trace(seed: u64, models: u64, count: usize) -> Vec<usize> {
    let mut chance = Chance(seed);
    let mut trace = Vec::with_capacity(count);
    let mut model = 0;
    while trace.len() < count {
        model = (model + 1 + chance.below(models - 1)) % models;
        let row = 1 + chance.below(ROW_MAX) as usize;
        trace.extend(std::iter::repeat_n(model as usize, row.min(count - trace.len())));
    }
    trace
}

/// The fewest loads with which so many servers of one model each can serve a trace in its order: of two models that could
/// go, the one that is asked for later goes (Belady 1966).
pub fn optimum(trace: &[usize], servers: usize) -> u64 {
    let mut there = BTreeSet::new();
    let mut loads = 0;
    for (place, model) in trace.iter().enumerate() {
        if there.contains(model) {
            continue;
        }
        if there.len() == servers {
            let next =
                |model: &usize| trace[place..].iter().position(|next| next == model).unwrap_or(usize::MAX);
            let last = there.iter().copied().max_by_key(next).expect("there are servers");
            there.remove(&last);
        }
        there.insert(*model);
        loads += 1;
    }
    loads
}

/// Asks for the models of a trace in order, so many at a time, with prompts of so many words.
pub async fn run(fleet: &Fleet, trace: &[usize], clients: usize, length: usize) {
    let left = Mutex::new(trace.iter().enumerate());
    let client = async || {
        loop {
            let next = left.lock().expect("nobody panicked").next();
            let Some((number, model)) = next else { return };
            let said = words(number as u64, length);
            fleet.chat(&format!("m{model}"), &[json!({"role": "user", "content": said})]).await;
        }
    };
    join_all((0..clients).map(|_| client())).await;
}

#[test]
fn the_optimum_of_short_traces_is_known() {
    for (trace, loads) in
        [(&[0, 0, 1, 1, 0][..], 2), (&[0, 1, 2, 0, 1, 2], 4), (&[0, 1, 2, 1, 0], 4), (&[], 0)]
    {
        assert_eq!(optimum(trace, 2), loads, "{trace:?}");
    }
}
