//! The engine: slots, prefill, decode, and what it does when a client has gone.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use crate::{
    settings::{Kind, Settings},
    stats::{Entry, Outcome, Record},
};

/// Tokens the engine may be ahead of a client that reads slowly.
const TOKENS_AHEAD_MAX: usize = 1024;

/// One piece of work.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub model: String,
    pub prompt_tokens: u32,
    pub output_tokens: u32,
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
    resident: Mutex<BTreeSet<String>>,
    loading: tokio::sync::Mutex<()>,
}

impl Engine {
    pub fn new(settings: Settings, record: Arc<Record>) -> Self {
        let slots = Arc::new(Semaphore::new(settings.slots.max(1) as usize));
        let loads = matches!(settings.kind, Kind::Ollama | Kind::LmStudio);
        let resident = if loads { BTreeSet::new() } else { settings.models.iter().cloned().collect() };
        let (resident, loading) = (Mutex::new(resident), tokio::sync::Mutex::new(()));
        Engine { settings, record, slots, resident, loading }
    }

    /// Whether a model is in memory.
    pub fn resident(&self, model: &str) -> bool {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner).contains(model)
    }

    /// Takes a model out of memory.
    pub fn unload(&self, model: &str) {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner).remove(model);
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
        let slot = self.slots.acquire().await.expect("the semaphore is never closed");
        begun.store(true, Ordering::Relaxed);
        let busy = Busy::new(&self.record);
        let mut timing = Timing { queue: arrived.elapsed(), ..Timing::default() };
        timing.load = self.load(&job.model).await;

        let started = Instant::now();
        let ready = started + time_of(job.prompt_tokens, self.settings.prefill_tps);
        sleep_until(ready).await;
        timing.prefill = started.elapsed();
        self.record.read(job.prompt_tokens);
        let (stop_at, last) = match job.ending {
            Ending::Whole => (job.output_tokens, None),
            Ending::Die(after) => (after.min(job.output_tokens), Some(Step::Die)),
            Ending::Truncate(after) => (after.min(job.output_tokens), Some(Step::Truncate)),
            Ending::Stall(after) => (after.min(job.output_tokens), None),
        };
        for index in 1..=stop_at {
            sleep_until(ready + time_of(index, self.settings.decode_tps)).await;
            written.store(index, Ordering::Relaxed);
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
        drop(busy);
        drop(slot);
        let outcome = if last.is_none() { Outcome::Finished } else { Outcome::Failed };
        self.record.stop(entry, outcome, stop_at);
        room.send(last.unwrap_or(Step::Done(timing)));
    }

    async fn load(&self, model: &str) -> Duration {
        let started = Instant::now();
        let _one_at_a_time = self.loading.lock().await;
        if self.resident(model) {
            return Duration::ZERO;
        }
        sleep_until(started + self.settings.load_time).await;
        self.resident.lock().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned());
        started.elapsed()
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
