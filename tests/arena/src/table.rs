//! Figures as Markdown, worked out on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::policy::Policy;
use crate::scene::Scene;
use crate::score::{Score, Strain};
use crate::work::TraceFault;

/// The mean figures over seeds from 1, for each scene those of each policy.
///
/// # Errors
/// When a trace is not there.
///
/// # Panics
/// When a run does.
pub fn scores(
    scenes: &[Scene],
    policies: &[Policy],
    seeds: u64,
    threads: usize,
) -> Result<Vec<Vec<Score>>, TraceFault> {
    let cells = scenes.iter().flat_map(|scene| policies.iter().map(move |policy| (scene, policy)));
    let cells: Vec<(&Scene, &Policy, u64)> =
        cells.flat_map(|(scene, policy)| (1..=seeds).map(move |seed| (scene, policy, seed))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((scene, policy, seed)) = cells.get(index) else { return done };
            done.push((index, policy.play(scene, *seed).map(|run| Score::of(&run))));
        }
    };
    let mut all: Vec<(usize, Result<Score, TraceFault>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run failed")).collect()
    });
    all.sort_unstable_by_key(|(index, _)| *index);
    let all: Result<Vec<Score>, TraceFault> = all.into_iter().map(|(_, score)| score).collect();
    let means: Vec<Score> = all?.chunks(seeds.max(1) as usize).map(Score::mean).collect();
    Ok(means.chunks(policies.len().max(1)).map(<[Score]>::to_vec).collect())
}

const HEAD: &str = "\
| policy | warm % | TTFT mean s | p50 | p90 | p99 | wait s | wait p99 | turns/min | in use % | worst key |
|---|---|---|---|---|---|---|---|---|---|---|";

/// A table of all policies for each scene.
///
/// # Errors
/// When a trace is not there.
pub fn each(scenes: &[Scene], policies: &[Policy], seeds: u64, threads: usize) -> Result<String, TraceFault> {
    Ok(rows(scenes, policies, &scores(scenes, policies, seeds, threads)?, seeds))
}

/// The same of `scores` that are there.
#[must_use]
pub fn rows(scenes: &[Scene], policies: &[Policy], scores: &[Vec<Score>], seeds: u64) -> String {
    let mut text = String::new();
    for (scene, scores) in scenes.iter().zip(scores) {
        text += &format!("### {}, {seeds} seeds\n\n{HEAD}\n", scene.name());
        for (policy, score) in policies.iter().zip(scores) {
            text += &row(policy.name, score);
        }
        text += "\n";
    }
    text
}

fn row(policy: &str, score: &Score) -> String {
    let refused =
        if score.refused > 0.0 { format!(" ({:.1} refused)", score.refused) } else { String::new() };
    format!(
        "| {policy}{refused} | {:.1} | {:.2} | {:.2} | {:.2} | {:.1} | {:.2} | {:.1} | {:.1} | {:.0} | {:.2} |\n",
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

/// Every policy relative to the first, as geometric means over the scenes, with its best scene.
///
/// # Errors
/// When a trace is not there.
pub fn compared(
    scenes: &[Scene],
    policies: &[Policy],
    seeds: u64,
    threads: usize,
) -> Result<String, TraceFault> {
    Ok(ratios(scenes, policies, &scores(scenes, policies, seeds, threads)?, seeds))
}

/// The same of `scores` that are there.
#[must_use]
pub fn ratios(scenes: &[Scene], policies: &[Policy], scores: &[Vec<Score>], seeds: u64) -> String {
    let first = policies.first().map_or("", |policy| policy.name);
    let mut text = format!(
        "Relative to {first}, geometric means over {} worlds, {seeds} seeds:\n\n\
         | policy | TTFT mean | p50 | p99 | turns/min | TTFT at its best | there |\n|---|---|---|---|---|---|---|\n",
        scenes.len()
    );
    for (index, policy) in policies.iter().enumerate() {
        let ratios =
            |figure: fn(&Score) -> f64| scores.iter().map(move |row| figure(&row[index]) / figure(&row[0]));
        let mean = |figure: fn(&Score) -> f64| geometric(ratios(figure));
        let best = ratios(|score| score.ttft).zip(scenes).min_by(|(a, _), (b, _)| a.total_cmp(b));
        text += &format!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {} |\n",
            policy.name,
            mean(|score| score.ttft),
            mean(|score| score.p50),
            mean(|score| score.p99),
            mean(|score| score.turns),
            best.map_or(f64::NAN, |(ratio, _)| ratio),
            best.map_or("", |(_, scene)| scene.name()),
        );
    }
    text
}

/// The geometric mean of ratios.
#[must_use]
pub fn geometric(ratios: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = ratios.fold((0.0, 0.0), |(sum, count), ratio| (sum + ratio.ln(), count + 1.0));
    f64::exp(sum / f64::max(count, 1.0))
}

/// What a burst of one key does to the others, for each policy.
///
/// # Errors
/// When a trace is not there.
pub fn burst(scenes: &[Scene], policies: &[Policy], seeds: u64) -> Result<String, TraceFault> {
    let mut text = String::new();
    for scene in scenes {
        text += &format!(
            "### {}, {seeds} seeds\n\n| policy | others: TTFT mean s | p90 | p99 | warm % | burst: TTFT mean s | \
             all done after s |\n|---|---|---|---|---|---|---|\n",
            scene.name()
        );
        for policy in policies {
            let strains: Result<Vec<Strain>, TraceFault> =
                (1..=seeds).map(|seed| Ok(Strain::of(&policy.play(scene, seed)?))).collect();
            let Strain { ttft, p90, p99, warm, burst, span } = Strain::mean(&strains?);
            let warm = warm * 100.0;
            text += &format!(
                "| {} | {ttft:.2} | {p90:.2} | {p99:.1} | {warm:.1} | {burst:.1} | {span:.0} |\n",
                policy.name
            );
        }
        text += "\n";
    }
    Ok(text)
}
