//! Figures as Markdown, worked out on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::contest::Scene;
use crate::score::Score;

/// The mean figures over seeds from 1, for each scene those of each policy; `None` when there is no such policy.
///
/// # Panics
/// When a run does.
#[must_use]
pub fn scores(scenes: &[Scene], policies: &[&str], seeds: u64, threads: usize) -> Option<Vec<Vec<Score>>> {
    let cells: Vec<(&Scene, &str, u64)> = scenes
        .iter()
        .flat_map(|scene| policies.iter().map(move |policy| (scene, *policy)))
        .flat_map(|(scene, policy)| (1..=seeds).map(move |seed| (scene, policy, seed)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((scene, policy, seed)) = cells.get(index) else { return done };
            done.push((index, scene.play(policy, *seed).map(|run| Score::of(&run))));
        }
    };
    let mut all: Vec<(usize, Option<Score>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run failed")).collect()
    });
    all.sort_unstable_by_key(|(index, _)| *index);
    let all: Option<Vec<Score>> = all.into_iter().map(|(_, score)| score).collect();
    let means: Vec<Score> = all?.chunks(seeds.max(1) as usize).map(Score::mean).collect();
    Some(means.chunks(policies.len().max(1)).map(<[Score]>::to_vec).collect())
}

/// The head of a table of scores.
pub const HEAD: &str = "\
| policy | warm % | TTFT mean s | p50 | p90 | p99 | wait s | wait p99 | turns/min | in use % | worst key |
|---|---|---|---|---|---|---|---|---|---|---|";

/// A row of it.
#[must_use]
pub fn row(policy: &str, score: &Score) -> String {
    let refused =
        if score.refused > 0.0 { format!(" ({:.1} refused)", score.refused) } else { String::new() };
    format!(
        "| {policy}{refused} | {:.1} | {:.2} | {:.2} | {:.2} | {:.1} | {:.2} | {:.1} | {:.1} | {:.0} | {:.2} |",
        score.warm * 100.0,
        score.ttft,
        score.p50,
        score.p90,
        score.p99,
        score.wait,
        score.wait_p99,
        score.turns,
        score.used * 100.0,
        score.worst_key,
    )
}
