//! The virtual servers: what they really work on, which outlasts what they were asked to stop.

use std::collections::BTreeMap;

use sched::{BackendId, Moment, Outcome, Span, TicketId};

/// What every server works on.
#[derive(Default)]
pub struct Engines {
    serving: BTreeMap<TicketId, (BackendId, bool)>,
    works: BTreeMap<BackendId, BTreeMap<TicketId, Moment>>,
    peaks: BTreeMap<BackendId, usize>,
}

impl Engines {
    /// A request is sent, or, when not `reaches`, on its way.
    pub fn start(&mut self, ticket: TicketId, backend: BackendId, reaches: bool, now: Moment) {
        self.serving.insert(ticket, (backend, reaches));
        if reaches {
            self.works.entry(backend).or_default().insert(ticket, Moment::NEVER);
            let working = self.working(backend, now);
            let peak = self.peaks.entry(backend).or_default();
            *peak = working.max(*peak);
        }
    }

    /// Whether a request was started and has not ended for its client.
    pub fn serves(&self, ticket: TicketId) -> bool {
        self.serving.contains_key(&ticket)
    }

    /// A request ended for its client; the answer is its server when that works on for the lag.
    pub fn end(&mut self, ticket: TicketId, outcome: Outcome, now: Moment, lag: Span) -> Option<BackendId> {
        let (backend, reached) = self.serving.remove(&ticket)?;
        let works = self.works.entry(backend).or_default();
        works.retain(|_, stop| *stop > now);
        let lags = matches!(outcome, Outcome::Failed | Outcome::Aborted) && reached && lag > Span::ZERO;
        match lags {
            true => drop(works.insert(ticket, now + lag)),
            false => drop(works.remove(&ticket)),
        }
        lags.then_some(backend)
    }

    /// How many requests the server works on.
    pub fn working(&self, backend: BackendId, now: Moment) -> usize {
        self.works.get(&backend).map_or(0, |works| works.values().filter(|stop| **stop > now).count())
    }

    /// Whether the server works on something it was asked to stop.
    pub fn lags(&self, backend: BackendId, now: Moment) -> bool {
        let lagging = |stop: &Moment| *stop > now && *stop != Moment::NEVER;
        self.works.get(&backend).is_some_and(|works| works.values().any(lagging))
    }

    /// The most that each worked on at once.
    pub fn peaks(&self) -> BTreeMap<BackendId, usize> {
        self.peaks.clone()
    }
}
