//! What a burst of one key does to the others.

use super::{mean, percentile};
use crate::engine::{Record, Run};
use crate::work::Burst;

/// Figures of the others' requests that came in the twenty minutes from the burst on, and of the burst. Times in
/// seconds; who has no first token counts with the time waited.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strain {
    /// The others: mean time to the first token.
    pub ttft: f64,
    /// Its 90th percentile.
    pub p90: f64,
    /// Its 99th percentile.
    pub p99: f64,
    /// Share of the others' prompt tokens that came out of a cache, 0..1.
    pub warm: f64,
    /// The burst: mean time to the first token.
    pub burst: f64,
    /// From the first request of the burst to its last answer.
    pub span: f64,
}

/// For how long the others are looked at, in seconds.
const AFTER_S: f64 = 1200.0;

impl Strain {
    /// Of a run in which the last key is the burst's.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let late = |record: &&Record| (Burst::AT..Burst::AT + AFTER_S).contains(&record.arrived);
        let (burst, others): (Vec<&Record>, Vec<&Record>) =
            run.records.iter().partition(|record| record.key + 1 == run.keys);
        let others: Vec<&Record> = others.into_iter().filter(late).collect();
        let ttft = |record: &&Record| record.first.unwrap_or(run.end) - record.arrived;
        let mut ttfts: Vec<f64> = others.iter().map(ttft).collect();
        let read = others.iter().filter(|record| record.first.is_some());
        let (cached, input) = read.fold((0.0, 0.0), |(cached, input), record| {
            (cached + record.cached as f64, input + f64::from(record.input))
        });
        let last = burst.iter().map(|record| record.done.unwrap_or(run.end)).fold(Burst::AT, f64::max);
        Strain {
            ttft: mean(ttfts.iter().copied()),
            p90: percentile(&mut ttfts, 0.9),
            p99: percentile(&mut ttfts, 0.99),
            warm: cached / f64::max(input, 1.0),
            burst: mean(burst.iter().map(ttft)),
            span: last - Burst::AT,
        }
    }

    /// The mean of each figure.
    #[must_use]
    pub fn mean(strains: &[Strain]) -> Self {
        let of = |figure: fn(&Strain) -> f64| mean(strains.iter().map(figure));
        Strain {
            ttft: of(|strain| strain.ttft),
            p90: of(|strain| strain.p90),
            p99: of(|strain| strain.p99),
            warm: of(|strain| strain.warm),
            burst: of(|strain| strain.burst),
            span: of(|strain| strain.span),
        }
    }
}
