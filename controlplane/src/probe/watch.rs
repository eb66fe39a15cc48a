//! Probes every backend at its interval and keeps what was observed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    ask::Asker,
    steady::Steady,
    verdict::{self, Finding},
};
use crate::{
    find,
    model::{
        Backend, Desired, Health, Name, Observed, Record,
        observed::{Found, REASON_CHARS_MAX},
    },
};

/// Backends that are asked at the same time, at most.
const ASKED_MAX: usize = 64;
/// Intervals are shorter by up to this part, so that probes of many backends do not come together.
const JITTER: f64 = 0.1;
/// After a look that took longer than the interval, this part of it passes before the next.
const REST: f64 = 0.1;

/// What is known of every backend, by name. Its readers wake when more than the time of a probe changes.
pub type Sights = watch::Sender<BTreeMap<Name, Arc<Observed>>>;

/// How often and how patiently is probed.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the start of one probe of a backend to the start of the next, at most, unless the first takes longer.
    pub interval: Duration,
    /// For one question.
    pub timeout: Duration,
}

/// Runs until `stop`. Each backend has a task of its own; the first probe is at once. What was found goes to `found`
/// where it differs from what was found before.
pub async fn run(
    mut desired: watch::Receiver<Arc<Desired>>,
    sights: Arc<Sights>,
    found: mpsc::Sender<Found>,
    pace: Pace,
    stop: CancellationToken,
) {
    let asking = Arc::new(Semaphore::new(ASKED_MAX));
    let mut running = Running::new();
    let mut tasks = JoinSet::new();
    loop {
        let now = Arc::clone(&desired.borrow_and_update());
        for (name, record) in news(&mut running, &now, &sights) {
            let (ends, backend) = (stop.child_token(), record.value.clone());
            running.insert(name.clone(), (record, ends.clone()));
            let kept = sights.borrow().get(&name).map(|seen| seen.lasting());
            let one = One {
                asker: Asker::new(&backend, pace.timeout),
                name,
                backend,
                interval: pace.interval,
                sights: Arc::clone(&sights),
                asking: Arc::clone(&asking),
                ends,
                steady: Steady::default(),
                known: None,
                found: found.clone(),
                kept,
            };
            tasks.spawn(one.run());
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(problem) = ended {
                    tracing::error!(%problem, "a probe ended badly");
                }
            }
            changed = desired.changed() => if changed.is_err() { break },
        }
    }
    tasks.shutdown().await;
}

/// What is probed, as it is configured, and how to end that.
type Running = BTreeMap<Name, (Arc<Record<Backend>>, CancellationToken)>;

/// Ends the probing of what is gone or is another now; gives what has to be begun.
fn news(running: &mut Running, now: &Desired, sights: &Sights) -> Vec<(Name, Arc<Record<Backend>>)> {
    let (mut wanted, mut news) = (find::fixed::backends(now).peekable(), Vec::new());
    let new = |(name, record): (&Name, &Arc<Record<Backend>>)| (name.clone(), Arc::clone(record));
    running.retain(|name, (record, ends)| {
        if wanted.next_if(|(_, is)| Arc::ptr_eq(is, record)).is_some() {
            return true;
        }
        // Both are in order of name.
        while let Some(one) = wanted.next_if(|(other, _)| *other < name) {
            news.push(new(one));
        }
        let is = wanted.next_if(|(other, _)| *other == name);
        if let Some((_, is)) = is.filter(|(_, is)| is.value.probes_as(&record.value)) {
            *record = Arc::clone(is);
            return true;
        }
        ends.cancel();
        forget(sights, name);
        news.extend(is.map(new));
        false
    });
    news.extend(wanted.map(new));
    news
}

fn forget(sights: &Sights, name: &Name) {
    sights.send_if_modified(|all| all.remove(name).is_some());
}

struct One {
    name: Name,
    backend: Backend,
    asker: Asker,
    interval: Duration,
    sights: Arc<Sights>,
    asking: Arc<Semaphore>,
    ends: CancellationToken,
    steady: Steady,
    /// `None`: must be identified in full.
    known: Option<Finding>,
    found: mpsc::Sender<Found>,
    /// What was sent last to be kept.
    kept: Option<Observed>,
}

impl One {
    async fn run(mut self) {
        let ends = self.ends.clone();
        let mut first = true;
        loop {
            let began = Instant::now();
            tokio::select! {
                () = ends.cancelled() => return,
                () = self.probe() => {}
            }
            tokio::select! {
                () = ends.cancelled() => return,
                () = sleep(pause(self.interval, began.elapsed(), std::mem::take(&mut first))) => {}
            }
        }
    }

    async fn probe(&mut self) {
        let asking = Arc::clone(&self.asking);
        let Ok(_permit) = asking.acquire().await else { return };
        let (found, rtt_us) = self.look().await;
        let health = self.steady.note(found.is_ok());
        let before = self.sights.borrow().get(&self.name).cloned().unwrap_or_default();
        let mut now = Observed { health, probed_at_ms: unix_ms(), ..(*before).clone() };
        match found {
            Ok(finding) => {
                now.reason = if finding.models.is_empty() { "it has no models" } else { "" }.to_owned();
                now.kind = Some(finding.kind);
                now.dialects.clone_from(&finding.dialects);
                now.models.clone_from(&finding.models);
                let loaded = now.models.iter().filter(|model| model.resident).count();
                now.loaded_most = now.loaded_most.max(u32::try_from(loaded).unwrap_or(u32::MAX));
                (now.slots, now.version) = (finding.slots, finding.version.clone());
                (now.cache_tokens, now.requests) = (finding.cache_tokens, finding.requests);
                now.probe_rtt_us = rtt_us;
                self.known = Some(finding);
                self.keep(&now);
            }
            Err(reason) if health == Health::Unhealthy => {
                now.reason = reason.chars().take(REASON_CHARS_MAX).collect();
                self.known = None;
            }
            // One bad probe among good ones changes nothing yet.
            Err(_) => now.requests = None,
        }
        self.note(&before, now);
    }

    fn keep(&mut self, now: &Observed) {
        let lasting = now.lasting();
        // When nobody can take it now, the next probe sends it.
        if self.kept.as_ref() != Some(&lasting)
            && self.found.try_send((self.backend.clone(), lasting.clone())).is_ok()
        {
            self.kept = Some(lasting);
        }
    }

    async fn look(&self) -> (Result<Finding, String>, u64) {
        if let Some(known) = &self.known {
            let asked = self.asker.ask(verdict::cheap(known.kind)).await;
            match verdict::refresh(&self.backend, known, &asked.answers) {
                Ok(now) if verdict::changed(known, &now) => {}
                found => return (found, asked.rtt_us),
            }
        }
        let (verdict, rtt_us) = self.asker.identify().await;
        (verdict.finding, rtt_us)
    }

    fn note(&self, before: &Observed, now: Observed) {
        if before.health != now.health {
            let (name, reason) = (&self.name, &now.reason);
            // Coming back is told as loudly as going away: who saw the one waits for the other.
            match (before.health, now.health) {
                (Health::Unhealthy, Health::Healthy) => tracing::warn!("backend {name} is healthy again"),
                (_, Health::Healthy) => tracing::info!("backend {name} is healthy"),
                (_, Health::Unhealthy) => tracing::warn!("backend {name} is unhealthy: {reason}"),
                (_, Health::Unknown) => {}
            }
        }
        self.sights.send_if_modified(|all| {
            // The backend may have gone while it was asked.
            if self.ends.is_cancelled() {
                return false;
            }
            let differs = !all.get(&self.name).is_some_and(|there| there.same(&now));
            all.insert(self.name.clone(), Arc::new(now));
            differs
        });
    }
}

/// Until the next look, after one that took so long. Counted from start to start: who comes back while a look waits in
/// vain is seen within an interval all the same. The pause after the `first` look may be of any length: backends that were
/// added together are not looked at together for ever.
fn pause(interval: Duration, took: Duration, first: bool) -> Duration {
    let chance = getrandom::u32().map_or(0.5, |drawn| f64::from(drawn) / f64::from(u32::MAX));
    let jitter = if first { 1.0 } else { JITTER };
    interval.mul_f64(1.0 - jitter * chance).saturating_sub(took).max(interval.mul_f64(REST))
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_start_an_interval_apart_at_most_however_long_one_takes() {
        let ms = Duration::from_millis;
        for (took, at_least, at_most) in [(0, 900, 1000), (400, 500, 600), (950, 100, 100), (7000, 100, 100)]
        {
            for _ in 0..50 {
                let pause = pause(ms(1000), ms(took), false);
                assert!((ms(at_least)..=ms(at_most)).contains(&pause), "{pause:?} after {took} ms");
            }
        }
        let firsts: Vec<_> = (0..200).map(|_| pause(ms(1000), ms(0), true)).collect();
        assert!(firsts.iter().all(|first| (ms(100)..=ms(1000)).contains(first)), "{firsts:?}");
        assert!(firsts.iter().any(|first| *first < ms(400)) && firsts.iter().any(|first| *first > ms(700)));
    }
}
