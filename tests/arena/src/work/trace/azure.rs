//! Azure's trace of a code assistant: real arrivals and lengths. It says nothing of content, so nothing is shared.

use std::sync::Arc;

use super::{KEYS, TraceFault, lines};
use crate::cache::Segment;
use crate::rng::{mix, unit};
use crate::work::{Request, Source};

const FILE: &str = "azure_code_2023.csv";
const DAY_S: f64 = 86_400.0;

/// Requests without a past.
pub struct Azure {
    requests: Vec<Request>,
}

struct Line {
    /// Seconds since midnight.
    time: f64,
    input: u32,
    output: u32,
}

impl Azure {
    /// A share of its requests, drawn by the seed.
    ///
    /// # Errors
    /// When the trace is not there or makes no sense.
    pub fn load(keep: f64, seed: u64) -> Result<Self, TraceFault> {
        let lines = lines(FILE, 1, Line::read)?;
        let begin = lines.first().map_or(0.0, |line| line.time);
        let numbered = (0u64..).zip(&lines);
        let kept = numbered.filter(|(number, _)| unit(mix(seed * 7919 + number)) < keep);
        let requests = kept.enumerate().map(|(agent, (number, line))| line.request(agent, number, begin));
        Ok(Azure { requests: requests.collect() })
    }
}

impl Line {
    /// `2023-11-16 18:17:03.9799600,4808,10`
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.trim().split(',');
        let mut clock = fields.next()?.split_once(' ')?.1.splitn(3, ':').map(str::parse::<f64>);
        let mut part = || clock.next()?.ok();
        let time = part()? * 3600.0 + part()? * 60.0 + part()?;
        let mut length = || fields.next()?.parse::<u32>().ok();
        Some(Line { time, input: length()?.max(1), output: length()?.max(1) })
    }

    fn request(&self, agent: usize, number: u64, begin: f64) -> Request {
        let segment = |part: u64, tokens| Segment { id: mix(number * 2 + part), tokens };
        let prompt = segment(0, self.input);
        Request {
            key: (mix(number) as usize) % KEYS,
            agent,
            model: 0,
            prompt: Arc::new([prompt]),
            answers: Arc::new([]),
            whole: Arc::new([prompt, segment(1, self.output)]),
            session: number,
            opening: number,
            at: (self.time - begin).rem_euclid(DAY_S),
            tool: false,
        }
    }
}

impl Source for Azure {
    fn initial(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    fn next(&mut self, _: usize, _: f64) -> Vec<Request> {
        Vec::new()
    }

    fn keys(&self) -> usize {
        KEYS
    }
}
