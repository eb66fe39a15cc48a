//! One server at work: prefills share its compute, generation suffers from them and from company.

use crate::cache::Cache;
use crate::fleet::Machine;

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Another model is in use: that it comes to an end.
    Queued,
    /// The model.
    Load,
    /// The first token.
    Prefill,
    /// The last token.
    Decode,
}

/// A request on a server.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which one.
    pub ticket: usize,
    /// The seat of the server's cache that it has; none while it is queued.
    pub seat: Option<usize>,
    /// What it waits for.
    pub phase: Phase,
    /// What is left of the phase: seconds at full speed, or tokens of `Decode`.
    pub left: f64,
    /// Seconds of prefill at full speed that are still to come after the load.
    pub prefill_s: f64,
    /// When it was sent.
    pub since: f64,
    /// When the phase began.
    pub phase_since: f64,
    /// Tokens generated, as of the last change of the host.
    pub generated: f64,
    /// Prompt tokens that were not cached.
    pub uncached: u64,
    /// Whether another prefill ran at the same time.
    pub accompanied: bool,
}

/// What is left of a phase that has ended, in seconds or tokens.
const NOTHING: f64 = 1e-7;
/// Speed of prefill while others generate.
const PREFILL_AMONG_STREAMS: f64 = 0.9;
/// Speed of generation while others prefill.
const STREAM_AMONG_PREFILLS: f64 = 0.4;

/// A server and what it does.
#[derive(Clone, Debug)]
pub struct Host {
    /// What it is.
    pub machine: Machine,
    /// What it really holds.
    pub cache: Cache,
    /// What it does, at most a job a slot.
    pub jobs: Vec<Job>,
    /// The model in memory, where only one is at a time.
    pub resident: Option<u8>,
    version: u64,
    last: f64,
    warmup: f64,
    busy_s: f64,
}

impl Host {
    pub(super) fn new(machine: &Machine, warmup: f64) -> Self {
        Host {
            cache: Cache::new(machine.cache, machine.slots),
            machine: machine.clone(),
            jobs: Vec::new(),
            resident: None,
            version: 0,
            last: 0.0,
            warmup,
            busy_s: 0.0,
        }
    }

    /// Slots without a job.
    #[must_use]
    pub fn free(&self) -> usize {
        self.machine.slots - self.jobs.len()
    }

    /// Jobs in these phases.
    #[must_use]
    pub fn count(&self, phase: Phase) -> usize {
        self.jobs.iter().filter(|job| job.phase == phase).count()
    }

    /// Seconds until the model is there, once nothing else runs; zero when it is.
    #[must_use]
    pub fn load_s(&self, model: u8) -> f64 {
        self.machine.load_s.filter(|_| self.resident != Some(model)).unwrap_or(0.0)
    }

    /// Whether a request for this model would begin at once on a free slot.
    #[must_use]
    pub fn ready(&self, model: u8) -> bool {
        self.machine.load_s.is_none() || self.resident == Some(model) || self.jobs.is_empty()
    }

    /// Whether it can take one more request and begin at once.
    #[must_use]
    pub fn open(&self, model: u8) -> bool {
        self.free() > 0 && self.ready(model)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn busy_s(&self) -> f64 {
        self.busy_s
    }

    /// Something about its jobs changes: what was its next change no longer is.
    pub(super) fn begin_change(&mut self, now: f64) {
        self.progress(now);
        self.version += 1;
    }

    /// The phase of this job if it has ended, `Some(None)` if it has not; `None` when there is no such job.
    pub(super) fn due(&self, index: usize) -> Option<Option<Phase>> {
        let job = self.jobs.get(index)?;
        Some((job.phase != Phase::Queued && job.left <= NOTHING).then_some(job.phase))
    }

    pub(super) fn next_change(&self) -> Option<f64> {
        let (prefill, decode) = self.rates();
        let left = self.jobs.iter().filter_map(|job| match job.phase {
            Phase::Queued => None,
            Phase::Load => Some(job.left),
            Phase::Prefill => Some(job.left / prefill),
            Phase::Decode => Some(job.left / decode),
        });
        left.map(|left| self.last + left.max(0.0)).min_by(f64::total_cmp)
    }

    pub(super) fn lose(&mut self) {
        self.cache.lose();
    }

    /// Brings its jobs up to `now`.
    pub(super) fn progress(&mut self, now: f64) {
        let passed = now - self.last;
        if passed > 0.0 {
            let (prefill, decode) = self.rates();
            for job in &mut self.jobs {
                match job.phase {
                    Phase::Queued => {}
                    Phase::Load => job.left -= passed,
                    Phase::Prefill => job.left -= passed * prefill,
                    Phase::Decode => {
                        job.left -= passed * decode;
                        job.generated += passed * decode;
                    }
                }
            }
            if now > self.warmup {
                self.busy_s += (now - self.last.max(self.warmup)) * self.jobs.len() as f64;
            }
        }
        self.last = now;
    }

    /// For each job: seconds of prefill at full speed that pass in a second, and tokens a second.
    fn rates(&self) -> (f64, f64) {
        let prefills = self.count(Phase::Prefill) as f64;
        let streams = self.count(Phase::Decode) as f64;
        let alone = |there: bool, otherwise: f64| if there { otherwise } else { 1.0 };
        let prefill = alone(streams > 0.0, PREFILL_AMONG_STREAMS) / prefills;
        let crowd = 1.0 + self.machine.crowding * (streams - 1.0);
        (prefill, self.machine.decode_tps / crowd * alone(prefills > 0.0, STREAM_AMONG_PREFILLS))
    }

    /// Jobs that read a prompt, or are about to, disturb each other.
    pub(super) fn note_company(&mut self) {
        let reading = |job: &Job| matches!(job.phase, Phase::Load | Phase::Prefill);
        if self.jobs.iter().filter(|job| reading(job)).count() > 1 {
            for job in self.jobs.iter_mut().filter(|job| reading(job)) {
                job.accompanied = true;
            }
        }
    }
}
