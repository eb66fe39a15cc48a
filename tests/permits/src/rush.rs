//! What sharing costs where nothing fails: utilisation, order, hand-overs and messages beside one ideal queue.

use std::collections::{BTreeMap, BTreeSet};

use arena::rng::Rng;
use sched::BackendId;

use crate::judge::{Broken, Request};
use crate::net::End;
use crate::world::{Happening, Input, Mark, Settings, World};

/// Time to find a lead.
const WARM_UP: u64 = 200_000;

/// A load on one backend.
#[derive(Clone, Copy, Debug)]
pub struct Rush {
    /// Data planes.
    pub planes: usize,
    /// Slots of the backend.
    pub slots: u32,
    /// From one data plane to another and back, in microseconds.
    pub round_trip: u64,
    /// How long a request takes, in seconds, as a mean; log-normal with a deviation of 1.
    pub service: f64,
    /// Of what the slots can do.
    pub load: f64,
    /// For how long requests come, in seconds.
    pub length: f64,
    /// Who runs next is decided by the product's scheduling core.
    pub core: bool,
    /// Chance.
    pub seed: u64,
}

/// What came of it. Times are in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Slots in use, of those that there was somebody for.
    pub utilisation: f64,
    /// From coming to starting, as a mean.
    pub wait: f64,
    /// The same in one queue.
    pub ideal: f64,
    /// The most earlier requests that one went before.
    pub overtakes: usize,
    /// From the end of a request to the next start on its slot while somebody waited: the 99th of 100, and the longest.
    pub hand_over: (f64, f64),
    /// Of those hand-overs, how many took no longer than a round trip and a millisecond.
    pub prompt: f64,
    /// Messages between data planes for each request.
    pub messages: f64,
    /// Requests.
    pub requests: usize,
}

struct Job {
    at: u64,
    machine: usize,
    length: u64,
}

impl Rush {
    /// Nine of ten requests come to one data plane, which is another after every twenty mean services.
    fn jobs(&self) -> Vec<Job> {
        let mut rng = Rng::new(self.seed);
        let median = self.service / 0.5_f64.exp();
        let gap = self.service / (self.load * f64::from(self.slots));
        let (mut jobs, mut at) = (Vec::new(), 0.0);
        while at < self.length {
            at += rng.exponential(gap);
            let hot = (at / (20.0 * self.service)) as usize % self.planes;
            let machine = if rng.chance(0.9) { hot } else { rng.below(self.planes) };
            let length = (rng.lognormal(median, 1.0) * 1e6) as u64 + 1;
            jobs.push(Job { at: (at * 1e6) as u64, machine, length });
        }
        jobs
    }

    /// Lets it all happen.
    pub fn run(&self) -> Result<Outcome, Broken> {
        let settings = Settings {
            planes: self.planes,
            slots: vec![self.slots],
            delay: (self.round_trip / 2, self.round_trip / 2),
            rough: false,
            reigns: false,
            gap: 0,
            service: (1, 1),
            silence: None,
            core: self.core,
            flaw: None,
        };
        let mut world = World::new(self.seed, settings);
        world.run(WARM_UP)?;
        let jobs = self.jobs();
        for job in &jobs {
            let life = world.process(job.machine).map_or(0, |process| process.life);
            let arrive = Input::Arrive(vec![BackendId(0)], job.length);
            let end = End { machine: job.machine, life };
            world.plan(job.at, Happening::Reach(end, None, arrive));
        }
        world.keeps = true;
        let before = world.messages;
        world.run((self.length * 1e6) as u64)?;
        let messages = (world.messages - before) as f64 / jobs.len() as f64;
        let ideal = self.ideal(&jobs);
        Ok(Outcome { messages, ideal, requests: jobs.len(), ..self.read(&world) })
    }

    /// The mean wait in one queue before all slots.
    fn ideal(&self, jobs: &[Job]) -> f64 {
        let mut free: BTreeSet<(u64, u32)> = (0..self.slots).map(|slot| (0, slot)).collect();
        let (mut waits, mut count) = (0, 0);
        for job in jobs {
            let (at, slot) = free.pop_first().expect("there are slots");
            let start = at.max(job.at);
            free.insert((start + job.length, slot));
            if self.counts(job.at) {
                waits += start - job.at;
                count += 1;
            }
        }
        waits as f64 / 1e6 / f64::from(count)
    }

    /// Whether one that came then is looked at: not those of the beginning and the end.
    fn counts(&self, at: u64) -> bool {
        let at = at as f64 / 1e6;
        at > 0.1 * self.length && at < 0.95 * self.length
    }

    fn read(&self, world: &World) -> Outcome {
        let mut waiting: BTreeSet<(u64, Request)> = BTreeSet::new();
        let mut came: BTreeMap<Request, u64> = BTreeMap::new();
        // slots that came free while somebody waited: they are handed over in order
        let mut open: Vec<u64> = Vec::new();
        let (mut running, mut last) = (0u64, 0);
        let (mut busy, mut demand) = (0.0, 0.0);
        let (mut waits, mut overtakes, mut hand_overs) = (Vec::new(), 0, Vec::new());
        for (at, request, mark) in &world.journal {
            let at = at - WARM_UP;
            if self.counts(at) {
                let span = (at - last) as f64;
                let wanted = (running + waiting.len() as u64).min(u64::from(self.slots));
                busy += span * running as f64;
                demand += span * wanted as f64;
            }
            last = at;
            match mark {
                Mark::Came => {
                    came.insert(*request, at);
                    waiting.insert((at, *request));
                }
                Mark::Started(_) => {
                    running += 1;
                    let since = came[request];
                    waiting.remove(&(since, *request));
                    if !open.is_empty() {
                        hand_overs.push(at - open.remove(0));
                    }
                    if self.counts(since) {
                        waits.push(at - since);
                        overtakes = overtakes.max(waiting.range(..(since, *request)).count());
                    }
                }
                Mark::Ended => {
                    running -= 1;
                    if waiting.len() > open.len() {
                        open.push(at);
                    }
                }
            }
        }
        hand_overs.sort_unstable();
        let secs = |micros: u64| micros as f64 / 1e6;
        let at = |part: f64| hand_overs.get(((hand_overs.len() as f64 - 1.0) * part) as usize).copied();
        let prompt = hand_overs.iter().filter(|span| **span <= self.round_trip + 1_000).count();
        Outcome {
            utilisation: busy / demand,
            wait: secs(waits.iter().sum()) / waits.len() as f64,
            overtakes,
            hand_over: (secs(at(0.99).unwrap_or_default()), secs(at(1.0).unwrap_or_default())),
            prompt: prompt as f64 / hand_overs.len().max(1) as f64,
            ..Outcome::default()
        }
    }
}
