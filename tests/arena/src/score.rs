//! What a run was worth.

mod strain;

pub use strain::Strain;

use crate::engine::{Record, Run};

/// Figures of one run, or the mean of several. Times in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// Share of prompt tokens that came out of a cache, 0..1.
    pub warm: f64,
    /// From arrival to first token. Who has none counts with the time waited: nobody gains by never answering.
    pub ttft: f64,
    /// Its median.
    pub p50: f64,
    /// Its 90th percentile.
    pub p90: f64,
    /// Its 99th percentile.
    pub p99: f64,
    /// From arrival to start.
    pub wait: f64,
    /// The 99th percentile of that.
    pub wait_p99: f64,
    /// From start to first token.
    pub prefill: f64,
    /// From arrival to last token.
    pub whole: f64,
    /// Answers a minute.
    pub turns: f64,
    /// Share of slot time in use, 0..1.
    pub used: f64,
    /// The largest mean `ttft` of a key, relative to the mean over keys.
    pub worst_key: f64,
    /// Requests turned away.
    pub refused: f64,
}

/// One that had not even begun to wait when the run ended says nothing, in seconds.
const AT_THE_END: f64 = 1.0;

impl Score {
    /// The figures of a run.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let counts = |record: &&Record| {
            record.arrived >= run.warmup && (record.first.is_some() || record.arrived < run.end - AT_THE_END)
        };
        let records: Vec<&Record> = run.records.iter().filter(counts).collect();
        let ttft = |record: &Record| record.first.unwrap_or(run.end) - record.arrived;
        let mut ttfts: Vec<f64> = records.iter().map(|record| ttft(record)).collect();
        let mut waits: Vec<f64> =
            records.iter().map(|record| record.started.unwrap_or(run.end) - record.arrived).collect();
        let read: Vec<&&Record> = records.iter().filter(|record| record.first.is_some()).collect();
        let input: f64 = read.iter().map(|record| f64::from(record.input)).sum();
        let wholes: Vec<f64> =
            records.iter().filter_map(|record| Some(record.done? - record.arrived)).collect();
        let prefills = read.iter().filter_map(|record| Some(record.first? - record.started?));
        let span = run.end - run.warmup;
        Score {
            warm: read.iter().map(|record| record.cached as f64).sum::<f64>() / input.max(1.0),
            ttft: mean(ttfts.iter().copied()),
            p50: percentile(&mut ttfts, 0.5),
            p90: percentile(&mut ttfts, 0.9),
            p99: percentile(&mut ttfts, 0.99),
            wait: mean(waits.iter().copied()),
            wait_p99: percentile(&mut waits, 0.99),
            prefill: mean(prefills),
            whole: mean(wholes.iter().copied()),
            turns: wholes.len() as f64 / (span / 60.0),
            used: run.busy_s.iter().sum::<f64>() / (span * run.slots as f64),
            worst_key: worst_key(run.keys, records.iter().map(|record| (record.key, ttft(record)))),
            refused: records.iter().filter(|record| record.refused).count() as f64,
        }
    }

    /// The mean of each figure.
    #[must_use]
    pub fn mean(scores: &[Score]) -> Self {
        let of = |figure: fn(&Score) -> f64| mean(scores.iter().map(figure));
        Score {
            warm: of(|score| score.warm),
            ttft: of(|score| score.ttft),
            p50: of(|score| score.p50),
            p90: of(|score| score.p90),
            p99: of(|score| score.p99),
            wait: of(|score| score.wait),
            wait_p99: of(|score| score.wait_p99),
            prefill: of(|score| score.prefill),
            whole: of(|score| score.whole),
            turns: of(|score| score.turns),
            used: of(|score| score.used),
            worst_key: of(|score| score.worst_key),
            refused: of(|score| score.refused),
        }
    }
}

/// The nearest of the values at a share of 0..1; sorts them. Not a number when there are none.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / f64::max(count, 1.0)
}

fn worst_key(keys: usize, ttfts: impl Iterator<Item = (usize, f64)>) -> f64 {
    let mut sums = vec![(0.0, 0.0); keys];
    for (key, ttft) in ttfts {
        sums[key].0 += ttft;
        sums[key].1 += 1.0;
    }
    let means: Vec<f64> =
        sums.iter().filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum / count).collect();
    means.iter().copied().fold(0.0, f64::max) / mean(means.iter().copied())
}
