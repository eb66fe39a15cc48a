//! The engine: slots, prefill, decode, and what it does when a client has gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc},
    time::Instant,
};

use crate::{
    memory::{Memory, Place},
    settings::Settings,
    stats::{Entry, Outcome, Record},
};

/// Tokens the engine may be ahead of a client that reads slowly.
const TOKENS_AHEAD_MAX: usize = 1024;

/// One piece of work.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub model: String,
    /// What the model reads; empty where nothing is kept of it.
    pub prompt: Arc<str>,
    pub prompt_tokens: u32,
    /// What it writes, a token each.
    pub answer: Arc<[String]>,
    pub output_tokens: u32,
    /// Where it is told how many tokens of the prompt were cached.
    pub cached: Arc<AtomicU32>,
    pub ending: Ending,
    /// Time before anything happens.
    pub delay: Duration,
}

/// How the work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Whole,
    /// The connection breaks after so many tokens.
    Die(u32),
    /// The stream ends cleanly, but too early.
    Truncate(u32),
    /// Nothing comes any more.
    Stall(u32),
}

/// What the engine tells the one who writes the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Token,
    Done(Timing),
    Die,
    Truncate,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timing {
    pub queue: Duration,
    pub load: Duration,
    pub prefill: Duration,
    pub decode: Duration,
}

impl Timing {
    pub fn total(&self) -> Duration {
        self.queue + self.load + self.prefill + self.decode
    }
}

#[derive(Debug)]
pub(crate) struct Engine {
    settings: Settings,
    record: Arc<Record>,
    slots: Arc<Semaphore>,
    pub memory: Memory,
    loading: tokio::sync::Mutex<()>,
    /// What the settings' speeds are multiplied with, as the bits of an `f64`.
    speed: AtomicU64,
}

impl Engine {
    pub fn new(settings: Settings, record: Arc<Record>) -> Self {
        let slots = Arc::new(Semaphore::new(settings.slots.max(1) as usize));
        let (memory, loading) = (Memory::new(&settings), tokio::sync::Mutex::new(()));
        let speed = AtomicU64::new(1f64.to_bits());
        Engine { settings, record, slots, memory, loading, speed }
    }

    /// Works so many times as fast as its settings say, from the next prompt and the next token on.
    pub fn set_speed(&self, factor: f64) {
        self.speed.store(factor.to_bits(), Ordering::Relaxed);
    }

    /// Starts work that [`Record::accept`] has taken in. Dropping the receiver is leaving.
    pub fn start(self: &Arc<Self>, entry: Entry, job: Job) -> mpsc::Receiver<Step> {
        let (steps, receiver) = mpsc::channel(TOKENS_AHEAD_MAX);
        let engine = self.clone();
        tokio::spawn(async move {
            let begun = AtomicBool::new(false);
            let written = AtomicU32::new(0);
            let left = async {
                steps.closed().await;
                engine.record.left(entry);
                if begun.load(Ordering::Relaxed) {
                    // `work` finds no receiver and stays where it is, so the slot is held meanwhile.
                    sleep_until(Instant::now() + engine.settings.abort_lag).await;
                }
            };
            let left_early = tokio::select! {
                biased;
                () = engine.work(entry, &job, &steps, &begun, &written) => false,
                () = left => true,
            };
            if left_early {
                engine.record.stop(entry, Outcome::Left, written.load(Ordering::Relaxed));
            }
        });
        receiver
    }

    async fn work(
        &self,
        entry: Entry,
        job: &Job,
        steps: &mpsc::Sender<Step>,
        begun: &AtomicBool,
        written: &AtomicU32,
    ) {
        let arrived = Instant::now();
        sleep_until(arrived + job.delay).await;
        let mut held = self.enter(&job.model, begun).await;
        held.timing.queue = arrived.elapsed() - held.timing.load;
        let mut place = self.memory.sit(&job.model, &job.prompt);
        let ended = std::mem::take(&mut place.ended);
        let sitting = Sitting { memory: &self.memory, job, place, written };
        tokio::select! {
            biased;
            () = self.generate(entry, sitting, held, steps) => {}
            () = ended.wait() => {
                self.record.stop(entry, Outcome::Failed, written.load(Ordering::Relaxed));
                // An error means that the client has left.
                let _ = steps.send(Step::Die).await;
            }
        }
    }

    async fn generate(&self, entry: Entry, sitting: Sitting<'_>, held: Held<'_>, steps: &mpsc::Sender<Step>) {
        let Held { slot, busy, mut timing } = held;
        let (job, cached) = (sitting.job, sitting.place.cached.min(sitting.job.prompt_tokens));
        job.cached.store(cached, Ordering::Relaxed);
        let started = Instant::now();
        let fresh = job.prompt_tokens - cached;
        sleep_until(started + time_of(fresh, self.settings.prefill_tps * self.speed())).await;
        timing.prefill = started.elapsed();
        self.record.read(entry, fresh, cached);
        let (stop_at, last) = match job.ending {
            Ending::Whole => (job.output_tokens, None),
            Ending::Die(after) => (after.min(job.output_tokens), Some(Step::Die)),
            Ending::Truncate(after) => (after.min(job.output_tokens), Some(Step::Truncate)),
            Ending::Stall(after) => (after.min(job.output_tokens), None),
        };
        let mut due = Instant::now();
        for index in 1..=stop_at {
            due += time_of(1, self.decode_tps());
            sleep_until(due).await;
            sitting.written.store(index, Ordering::Relaxed);
            if steps.send(Step::Token).await.is_err() {
                return std::future::pending().await;
            }
        }
        if matches!(job.ending, Ending::Stall(_)) {
            return std::future::pending().await;
        }
        timing.decode = started.elapsed() - timing.prefill;
        // Room for the last step comes first: whoever reads it may rely on the slot being free.
        let Ok(room) = steps.reserve().await else {
            return std::future::pending().await;
        };
        drop((sitting, busy, slot));
        let outcome = if last.is_none() { Outcome::Finished } else { Outcome::Failed };
        self.record.stop(entry, outcome, stop_at);
        room.send(last.unwrap_or(Step::Done(timing)));
    }

    /// Waits for a slot, and for the model to be in memory. One that takes the place of another waits until all is quiet,
    /// unless it is not to.
    async fn enter(&self, model: &str, begun: &AtomicBool) -> Held<'_> {
        loop {
            let alone = !self.settings.evict_kills && !self.memory.fits(model);
            let count = if alone { self.settings.slots.max(1) } else { 1 };
            let mut slot = self.slots.acquire_many(count).await.expect("the semaphore is never closed");
            begun.store(true, Ordering::Relaxed);
            let busy = Busy::new(&self.record);
            // Another may have been loaded in its place meanwhile.
            if let Some(load) = self.load(model, alone || self.settings.evict_kills).await {
                drop(slot.split(count as usize - 1));
                return Held { slot, busy, timing: Timing { load, ..Timing::default() } };
            }
        }
    }

    /// Loads a model where it is not in memory; none where others would have to go that must not.
    async fn load(&self, model: &str, evicts: bool) -> Option<Duration> {
        let started = Instant::now();
        let _one_at_a_time = self.loading.lock().await;
        if self.memory.holds(model) {
            return Some(Duration::ZERO);
        }
        if !self.memory.fits(model) {
            if !evicts {
                return None;
            }
            let (evicted, killed) = self.memory.evict();
            self.record.evicted(evicted, killed);
        }
        self.record.loaded();
        sleep_until(started + self.settings.load_time).await;
        self.memory.insert(model);
        Some(started.elapsed())
    }

    fn speed(&self) -> f64 {
        f64::from_bits(self.speed.load(Ordering::Relaxed))
    }

    fn decode_tps(&self) -> f64 {
        let alone = self.settings.decode_tps * self.speed();
        if self.settings.decode_drag == 0.0 {
            return alone;
        }
        let others = self.record.look(|stats| stats.busy).saturating_sub(1);
        alone / (1.0 + self.settings.decode_drag * f64::from(others))
    }
}

/// What a piece of work has while it runs.
struct Held<'a> {
    slot: SemaphorePermit<'a>,
    busy: Busy<'a>,
    timing: Timing,
}

/// A place in memory, given back with what was written.
struct Sitting<'a> {
    memory: &'a Memory,
    job: &'a Job,
    place: Place,
    written: &'a AtomicU32,
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        let written = self.written.load(Ordering::Relaxed) as usize;
        let answer = &self.job.answer[..written.min(self.job.answer.len())];
        let text = format!("{}{}", self.job.prompt, answer.concat());
        self.memory.rise(&self.job.model, &self.place, &text);
    }
}

/// A slot in use, in the books.
struct Busy<'a>(&'a Record);

impl<'a> Busy<'a> {
    fn new(record: &'a Record) -> Self {
        record.busy(true);
        Busy(record)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy(false);
    }
}

/// A timer rounds up to a millisecond; a moment that has passed costs no timer at all, so fast rates
/// keep their mean.
async fn sleep_until(moment: Instant) {
    if moment > Instant::now() {
        tokio::time::sleep_until(moment).await;
    }
}

fn time_of(tokens: u32, rate: f64) -> Duration {
    if rate.is_finite() && rate > 0.0 {
        Duration::try_from_secs_f64(f64::from(tokens) / rate).unwrap_or(Duration::MAX / 4)
    } else {
        Duration::ZERO
    }
}
