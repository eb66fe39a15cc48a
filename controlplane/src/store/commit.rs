//! The one writer: takes changes, commits them in groups, answers once they are durable.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    engine::{Batch, Engine, EngineFault, Identity, Loaded},
    finding, tree,
};
use crate::{
    fleet::{Denial, Entry, Registry},
    model::{Change, Desired, Name, Observed, Refusal, Written, observed::Found},
};

/// A batch that takes longer counts as hung: a full disk makes the engine wait for ever, without an error.
pub const WRITER_HUNG_AFTER: Duration = Duration::from_secs(10);
/// An answer is waited for this long at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Changes that wait for the writer at most.
const WAITING_MAX: usize = 1024;
/// Changes of one transaction at most.
const GROUP_MAX: usize = 256;

/// Why a change got no result.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// It was refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was denied; nothing changed.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The store takes no writes now; nothing changed.
    #[error("the store takes no writes now: {0}")]
    Down(String),
    /// No answer in time: the change may have been made or not.
    #[error("the store did not answer within {} s: read again whether the change was made", ANSWER_WITHIN.as_secs())]
    Unknown,
}

type Answer = Result<(Written, Arc<Desired>), StoreFault>;

enum Job {
    Change(Box<Change>, oneshot::Sender<Answer>),
    Entry(Entry, oneshot::Sender<Result<(), StoreFault>>),
    Findings(Vec<Found>, oneshot::Sender<Result<(), StoreFault>>),
    Stop,
}

/// What can be seen of the writer from outside.
#[derive(Debug)]
struct Pulse {
    started: Instant,
    /// Milliseconds after `started` at which the batch in work began, plus one; 0: idle.
    busy_since_ms: AtomicU64,
    failed: AtomicBool,
    commits: AtomicU64,
    commit_us: AtomicU64,
}

/// The durable configuration. Reads are answered from memory.
pub struct Store {
    jobs: mpsc::Sender<Job>,
    desired: watch::Receiver<Arc<Desired>>,
    registry: watch::Receiver<Arc<Registry>>,
    identity: Identity,
    seen: BTreeMap<Name, Arc<Observed>>,
    pulse: Arc<Pulse>,
    hung_after: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens an engine on the writer's own thread, counts the epoch and waits until that is durable.
    ///
    /// # Errors
    /// [`EngineFault`] is a sentence for the operator.
    pub async fn open<F>(open: F, fresh: Identity) -> Result<Self, EngineFault>
    where
        F: FnOnce() -> Result<Box<dyn Engine>, EngineFault> + Send + 'static,
    {
        let (jobs, queue) = mpsc::channel(WAITING_MAX);
        let (sender, desired) = watch::channel(Arc::new(Desired::default()));
        let (enter, registry) = watch::channel(Arc::new(Registry::default()));
        let (opened, loaded) = oneshot::channel();
        let pulse = Arc::new(Pulse {
            started: Instant::now(),
            busy_since_ms: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            commit_us: AtomicU64::new(0),
        });
        let seen = Arc::clone(&pulse);
        let body = move || match start(open, fresh) {
            Ok((engine, loaded)) => {
                let current = Arc::new(loaded.desired.clone());
                sender.send_replace(Arc::clone(&current));
                let planes = Arc::new(loaded.registry.clone());
                enter.send_replace(Arc::clone(&planes));
                if opened.send(Ok(loaded)).is_ok() {
                    Writer { engine, current, sender, planes, enter, pulse: seen }.run(queue);
                }
            }
            Err(fault) => drop(opened.send(Err(fault))),
        };
        let thread = std::thread::Builder::new().name("llmb-store".to_owned()).spawn(body);
        let thread = thread.map_err(|problem| EngineFault::Write(problem.to_string()))?;
        let gone = || EngineFault::Write("the writer ended while it opened the store".to_owned());
        let loaded = loaded.await.map_err(|_| gone())??;
        Ok(Store {
            jobs,
            desired,
            registry,
            identity: loaded.identity,
            seen: loaded.seen,
            pulse,
            hung_after: WRITER_HUNG_AFTER,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// With less patience for the writer.
    #[cfg(test)]
    pub fn hung_after(mut self, hung_after: Duration) -> Self {
        self.hung_after = hung_after;
        self
    }

    /// Who the store is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The data planes and who leads, as far as it is durable.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.borrow())
    }

    /// What was known of the backends when the store was opened.
    #[must_use]
    pub fn first_seen(&self) -> &BTreeMap<Name, Arc<Observed>> {
        &self.seen
    }

    /// The configuration now.
    #[must_use]
    pub fn desired(&self) -> Arc<Desired> {
        Arc::clone(&self.desired.borrow())
    }

    /// Wakes at each change of the configuration.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Desired>> {
        self.desired.clone()
    }

    /// Makes a change; returns when it is durable, with the configuration after it.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn change(&self, change: Change) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.ask(Job::Change(Box::new(change), sender), answer).await
    }

    /// Makes a change of the registry; returns when it is durable. No revision: it is no configuration.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn enter(&self, entry: Entry) -> Result<(), StoreFault> {
        let (sender, answer) = oneshot::channel();
        self.ask(Job::Entry(entry, sender), answer).await
    }

    /// Keeps what was found of backends, save of those that are gone or others by now. No revision.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn keep(&self, found: Vec<Found>) -> Result<(), StoreFault> {
        let (sender, answer) = oneshot::channel();
        self.ask(Job::Findings(found, sender), answer).await
    }

    async fn ask<T>(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<T, StoreFault>>,
    ) -> Result<T, StoreFault> {
        if let Err(why) = self.ready() {
            return Err(StoreFault::Down(why));
        }
        let busy = |_| StoreFault::Down("too many changes wait".to_owned());
        self.jobs.try_send(job).map_err(busy)?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(StoreFault::Unknown),
        }
    }

    /// Whether the writer takes writes.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn ready(&self) -> Result<(), String> {
        if self.pulse.failed.load(Ordering::Acquire) {
            return Err("a write failed; the control plane must be started again".to_owned());
        }
        match self.pulse.busy() {
            Some(busy) if busy > self.hung_after => {
                Err(format!("a write hangs since {} s; is the disk full?", busy.as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// Commits since the start, and the time that they took together, microseconds.
    #[must_use]
    pub fn commits(&self) -> (u64, u64) {
        (self.pulse.commits.load(Ordering::Relaxed), self.pulse.commit_us.load(Ordering::Relaxed))
    }

    /// Ends the writer after the changes before this call, and closes the engine. Blocks until then.
    pub fn stop(&self) {
        // A hung writer takes no more jobs: then the thread is left to the end of the process.
        if self.ready().is_ok() && self.jobs.try_send(Job::Stop).is_ok() {
            let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
            if let Some(Err(_)) = thread.map(JoinHandle::join) {
                tracing::error!("the store's writer ended badly");
            }
        }
    }
}

impl Pulse {
    fn busy(&self) -> Option<Duration> {
        let since = self.busy_since_ms.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    fn begin(&self) {
        let now = self.started.elapsed().as_millis() as u64;
        self.busy_since_ms.store(now + 1, Ordering::Release);
    }

    fn end(&self, took: Duration) {
        self.busy_since_ms.store(0, Ordering::Release);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }
}

fn start<F>(open: F, fresh: Identity) -> Result<(Box<dyn Engine>, Loaded), EngineFault>
where
    F: FnOnce() -> Result<Box<dyn Engine>, EngineFault>,
{
    let mut engine = open()?;
    let (loaded, first) = tree::load(engine.load()?, fresh)?;
    engine.commit(&first)?;
    Ok((engine, loaded))
}

struct Writer {
    engine: Box<dyn Engine>,
    current: Arc<Desired>,
    sender: watch::Sender<Arc<Desired>>,
    planes: Arc<Registry>,
    enter: watch::Sender<Arc<Registry>>,
    pulse: Arc<Pulse>,
}

/// What a group makes of what there is.
struct Next {
    desired: Arc<Desired>,
    planes: Registry,
}

/// An answer that waits for the commit.
enum Due {
    Change(oneshot::Sender<Answer>, Written, Arc<Desired>),
    Done(oneshot::Sender<Result<(), StoreFault>>),
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        loop {
            if queue.blocking_recv_many(&mut jobs, GROUP_MAX) == 0 {
                return;
            }
            if !self.group(jobs.drain(..)) {
                return;
            }
        }
    }

    /// One transaction; false: the writer ends.
    fn group(&mut self, jobs: impl Iterator<Item = Job>) -> bool {
        let began = Instant::now();
        self.pulse.begin();
        let mut batch = Batch::default();
        let mut next = Next { desired: Arc::clone(&self.current), planes: (*self.planes).clone() };
        let mut due = Vec::new();
        let mut stop = false;
        for job in jobs {
            match job {
                Job::Stop => stop = true,
                Job::Entry(entry, answer) => match next.planes.make(&entry) {
                    Ok(_) => due.push(Due::Done(answer)),
                    Err(denial) => drop(answer.send(Err(denial.into()))),
                },
                Job::Findings(found, answer) => {
                    let current = |one: &&Found| {
                        let record = next.desired.backends.get(&one.0.name);
                        record.is_some_and(|record| record.value.probes_as(&one.0))
                    };
                    found.iter().filter(current).for_each(|(backend, seen)| {
                        finding::put(&mut batch, &backend.name, seen);
                    });
                    due.push(Due::Done(answer));
                }
                Job::Change(change, answer) => match add(&mut next.desired, &mut batch, &change) {
                    Ok(written) => due.push(Due::Change(answer, written, Arc::clone(&next.desired))),
                    Err(fault) => drop(answer.send(Err(fault))),
                },
            }
        }
        tree::put_registry(&mut batch, &self.planes, &next.planes);
        let result = if batch.0.is_empty() { Ok(()) } else { self.engine.commit(&batch) };
        let alive = self.settle(result, next, due);
        self.pulse.end(began.elapsed());
        alive && !stop
    }

    fn settle(&mut self, result: Result<(), EngineFault>, next: Next, due: Vec<Due>) -> bool {
        let Err(fault) = result else {
            if next.desired.revision != self.current.revision {
                self.current = next.desired;
                self.sender.send_replace(Arc::clone(&self.current));
            }
            if next.planes != *self.planes {
                self.planes = Arc::new(next.planes);
                self.enter.send_replace(Arc::clone(&self.planes));
            }
            // A caller that has gone away needs no answer.
            due.into_iter().for_each(|due| match due {
                Due::Change(answer, written, after) => drop(answer.send(Ok((written, after)))),
                Due::Done(answer) => drop(answer.send(Ok(()))),
            });
            return true;
        };
        tracing::error!(%fault, "a commit failed");
        // Only a full disk is known to have left the engine as it was.
        let alive = matches!(fault, EngineFault::Full { .. });
        self.pulse.failed.store(!alive, Ordering::Release);
        let down = || StoreFault::Down(fault.to_string());
        due.into_iter().for_each(|due| match due {
            Due::Change(answer, ..) => drop(answer.send(Err(down()))),
            Due::Done(answer) => drop(answer.send(Err(down()))),
        });
        alive
    }
}

fn add(next: &mut Arc<Desired>, batch: &mut Batch, change: &Change) -> Result<Written, StoreFault> {
    let (written, after) = next.made(change)?;
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    tree::put(batch, &after, &written, at_ms).map_err(|fault| StoreFault::Down(fault.to_string()))?;
    written.backends.iter().for_each(|(name, _)| finding::forget(batch, name, next, &after));
    *next = Arc::new(after);
    Ok(written)
}
