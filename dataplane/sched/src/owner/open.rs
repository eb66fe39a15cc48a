//! Requests that wait at a data plane, each in the line of every backend it may run on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::permit::{TICKET_CANDIDATES_MAX, Ticket, Wants};
use crate::{BackendId, Moment, TicketId};

/// A request of this data plane.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) wants: Arc<Wants>,
    since: Moment,
    deadline: Moment,
    /// Backends that failed it, at most `TRIES_MAX`.
    pub(super) tried: Vec<BackendId>,
}

impl Open {
    pub(super) fn new(wants: Arc<Wants>, since: Moment, deadline: Moment) -> Self {
        Open { wants, since, deadline, tried: Vec::new() }
    }

    /// Where it may still run.
    pub(super) fn backends(&self) -> impl Iterator<Item = BackendId> {
        let candidates = self.wants.candidates.iter().take(TICKET_CANDIDATES_MAX);
        candidates.map(|candidate| candidate.backend).filter(|backend| !self.tried.contains(backend))
    }

    /// As the lead is told.
    pub(super) fn ticket(&self, id: TicketId, now: Moment) -> Ticket {
        Ticket {
            id,
            age: now.since(self.since),
            patience: self.deadline.since(now),
            wants: self.wants.clone(),
            tried: self.tried.clone(),
        }
    }
}

/// Who waits, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    open: BTreeMap<TicketId, Open>,
    lines: BTreeMap<BackendId, BTreeSet<(Moment, TicketId)>>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn contains(&self, id: TicketId) -> bool {
        self.open.contains_key(&id)
    }

    pub(super) fn push(&mut self, id: TicketId, open: Open) {
        for backend in open.backends() {
            self.lines.entry(backend).or_default().insert((open.since, id));
        }
        self.open.insert(id, open);
    }

    pub(super) fn take(&mut self, id: TicketId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        for backend in open.backends() {
            if let Some(line) = self.lines.get_mut(&backend) {
                line.remove(&(open.since, id));
                if line.is_empty() {
                    self.lines.remove(&backend);
                }
            }
        }
        Some(open)
    }

    /// The one that has waited longest for a backend.
    pub(super) fn first(&self, backend: BackendId) -> Option<TicketId> {
        self.lines.get(&backend)?.first().map(|(_, id)| *id)
    }

    /// All of them as the lead is told, in order of arrival.
    pub(super) fn tickets(&self, now: Moment) -> Vec<Ticket> {
        let mut open: Vec<(&TicketId, &Open)> = self.open.iter().collect();
        open.sort_by_key(|(id, open)| (open.since, **id));
        open.into_iter().map(|(id, open)| open.ticket(*id, now)).collect()
    }
}
