//! Batches of unlike prompts, and how long those take who know everything.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use llmsim::{Settings, TOKEN_BYTES};
use serde_json::json;

use super::{Asked as _, fleet::Fleet, words};
use crate::slow_parts::Chance;

/// Words of a prompt, from and to.
const WORDS: (u64, u64) = (300, 1200);

/// A prompt that has nothing in common with others.
pub struct Job(String);

pub fn jobs(seed: u64, count: usize) -> Vec<Job> {
    let mut chance = Chance(seed);
    let one = |_| {
        let length = WORDS.0 + chance.below(WORDS.1 - WORDS.0);
        Job(words(chance.next(), length as usize))
    };
    (0..count).map(one).collect()
}

impl Job {
    /// Seconds that it takes a server by itself.
    fn service(&self, settings: &Settings, speed: f64) -> f64 {
        let prompt = self.0.len().div_ceil(TOKEN_BYTES) as f64 / settings.prefill_tps;
        (prompt + f64::from(settings.output_tokens) / settings.decode_tps) / speed
    }
}

/// Asks for all of them at once; how long it takes until the last is answered.
pub async fn run(fleet: &Fleet, jobs: &[Job]) -> Duration {
    let began = Instant::now();
    join_all(jobs.iter().map(|job| async move {
        fleet.chat("m", &[json!({"role": "user", "content": job.0})]).await;
    }))
    .await;
    began.elapsed()
}

/// How long that takes where each in turn goes where it ends first, with a slot on each server of these speeds.
pub fn best(jobs: &[Job], settings: &Settings, speeds: &[f64]) -> Duration {
    let mut ends = vec![0.0; speeds.len()];
    for job in jobs {
        let after = |place: &usize| ends[*place] + job.service(settings, speeds[*place]);
        let place = (0..speeds.len()).min_by(|one, other| after(one).total_cmp(&after(other)));
        let place = place.expect("there are servers");
        ends[place] = after(&place);
    }
    Duration::from_secs_f64(ends.into_iter().fold(0.0, f64::max))
}
