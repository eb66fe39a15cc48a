//! Mooncake's traces: prompts as blocks of 512 tokens, of which equal ones have equal numbers.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{KEYS, TraceFault, lines};
use crate::cache::Segment;
use crate::rng::{mix, unit};
use crate::work::{Request, Source};

const FILE: &str = "mooncake_synthetic.jsonl";
/// Tokens of a block.
const BLOCK: u32 = 512;
/// A block in more requests than this is a system prompt, and joins no session.
const COMMON: u32 = 100;
/// Longer prompts are left out, in tokens.
const INPUT_MAX: u32 = 100_000;
/// A turn comes at least so long after the answer to the one before, in seconds.
const PAUSE: f64 = 1.0;

#[derive(Clone, Debug, Deserialize)]
struct Line {
    /// In milliseconds.
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// Sessions of a trace; a turn never comes before the answer to the one before it.
pub struct Mooncake {
    sessions: Vec<Vec<Request>>,
    /// The next turn of each.
    next: Vec<usize>,
}

impl Mooncake {
    /// A share of its sessions, drawn by the seed.
    ///
    /// # Errors
    /// When the trace is not there or makes no sense.
    pub fn load(keep: f64, seed: u64) -> Result<Self, TraceFault> {
        let lines = lines(FILE, 0, |line| serde_json::from_str(line).ok())?;
        let kept = |(index, _): &(usize, Vec<Line>)| unit(mix(seed * 7919 + *index as u64)) < keep;
        let sessions = sessions(lines).into_iter().enumerate().filter(kept);
        let request = |agent: usize, (index, turns): (usize, Vec<Line>)| {
            let key = (mix(index as u64 ^ seed) as usize) % KEYS;
            let turns = turns.into_iter().enumerate();
            turns.map(|(turn, line)| line.request(key, agent, (index, turn))).collect()
        };
        let sessions: Vec<Vec<Request>> =
            sessions.enumerate().map(|(agent, session)| request(agent, session)).collect();
        Ok(Mooncake { next: vec![0; sessions.len()], sessions })
    }

    fn turn(&mut self, session: usize) -> Option<Request> {
        let next = self.next.get_mut(session)?;
        *next += 1;
        self.sessions[session].get(*next - 1).cloned()
    }
}

/// Lines that share a block which is not common are of one session.
fn sessions(lines: Vec<Line>) -> Vec<Vec<Line>> {
    let mut count: HashMap<u64, u32> = HashMap::new();
    for block in lines.iter().flat_map(|line| &line.hash_ids) {
        *count.entry(*block).or_default() += 1;
    }
    let own = |block: &&u64| count[*block] <= COMMON;
    let mut last: HashMap<u64, usize> = HashMap::new();
    let mut sessions: Vec<Vec<Line>> = Vec::new();
    for line in lines.into_iter().filter(|line| line.input_length <= INPUT_MAX) {
        let known = line.hash_ids.iter().rev().filter(own).find_map(|block| last.get(block));
        let session = known.copied().unwrap_or_else(|| {
            sessions.push(Vec::new());
            sessions.len() - 1
        });
        last.extend(line.hash_ids.iter().filter(own).map(|block| (*block, session)));
        sessions[session].push(line);
    }
    sessions
}

impl Line {
    fn request(self, key: usize, agent: usize, (session, turn): (usize, usize)) -> Request {
        let full = self.hash_ids.len().saturating_sub(1);
        let rest = i64::from(self.input_length) - i64::from(BLOCK) * full as i64;
        let rest = rest.clamp(1, i64::from(BLOCK)) as u32;
        let segment = |(index, block): (usize, &u64)| Segment {
            id: block + 1,
            tokens: if index < full { BLOCK } else { rest },
        };
        let prompt: Arc<[Segment]> = self.hash_ids.iter().enumerate().map(segment).collect();
        let answer =
            Segment { id: mix(session as u64 * 1000 + turn as u64), tokens: self.output_length.max(1) };
        Request {
            key,
            agent,
            model: 0,
            whole: prompt.iter().copied().chain([answer]).collect(),
            prompt,
            answers: Arc::new([]),
            session: session as u64,
            opening: session as u64,
            at: self.timestamp / 1000.0,
            tool: false,
        }
    }
}

impl Source for Mooncake {
    fn initial(&mut self) -> Vec<Request> {
        (0..self.sessions.len()).filter_map(|session| self.turn(session)).collect()
    }

    fn next(&mut self, agent: usize, now: f64) -> Vec<Request> {
        let turn = self.turn(agent);
        turn.map(|turn| Request { at: turn.at.max(now + PAUSE), ..turn }).into_iter().collect()
    }

    fn keys(&self) -> usize {
        KEYS
    }
}
