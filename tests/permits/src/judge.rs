//! What must hold after every event: judged by what servers see and owners hold, never by the lead's books.

use std::collections::{BTreeMap, BTreeSet};

use sched::owner::Owner;
use sched::permit::{Permit, PlaneId, Term};
use sched::{BackendId, TicketId};

/// A request by its process and number.
pub type Request = (u64, TicketId);

/// A law that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub law: &'static str,
    /// What was seen.
    pub why: String,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It waits.
    Waits,
    /// It runs.
    Runs,
    /// It was answered, refused or given up.
    Ended,
    /// Its process died.
    Lost,
}

/// A request in a server.
#[derive(Clone, Copy, Debug)]
pub struct Working {
    /// Whose.
    pub request: Request,
    /// On which permit.
    pub permit: Permit,
}

/// The servers, the requests and the laws.
#[derive(Default)]
pub struct Judge {
    /// What servers work on.
    pub working: Vec<Working>,
    /// Every request and where it stands.
    pub requests: BTreeMap<Request, Stand>,
    /// The most slots that a backend ever had.
    pub most: BTreeMap<BackendId, u32>,
    /// Grants that were sent and not yet resolved.
    granted: BTreeMap<(Term, PlaneId, TicketId), Permit>,
    /// Only whether slots are used twice is looked at.
    pub slots_alone: bool,
    /// The first law that did not hold.
    pub broken: Option<Broken>,
    /// Requests that were started.
    pub starts: u64,
    /// Grants that were sent.
    pub grants: u64,
}

impl Judge {
    /// A law does not hold; the first that is looked at counts.
    pub fn fail(&mut self, law: &'static str, why: String) {
        if self.slots_alone && !["I1", "I2"].contains(&law) {
            return;
        }
        self.broken.get_or_insert(Broken { law, why });
    }

    /// I2: a request runs on a held permit, one on each, and no more than there are slots.
    pub fn start(&mut self, request: Request, permit: Permit, owner: &Owner) {
        self.starts += 1;
        match self.requests.insert(request, Stand::Runs) {
            Some(Stand::Waits) => {}
            before => self.fail("I8", format!("{request:?} starts, and it was {before:?}")),
        }
        if !owner.held().any(|(held, running)| held == permit && running == Some(request.1)) {
            self.fail("I2", format!("{request:?} starts on {permit:?}, which is not held for it"));
        }
        if let Some(other) = self.working.iter().find(|working| working.permit == permit) {
            let why = format!("{request:?} starts on {permit:?}, where {:?} runs", other.request);
            self.fail("I2", why);
        }
        self.working.push(Working { request, permit });
        let most = self.most.get(&permit.backend).copied().unwrap_or_default() as usize;
        let running = self.working.iter().filter(|working| working.permit.backend == permit.backend).count();
        if running > most {
            self.fail("I2", format!("{running} run at once on {:?}, which has {most} slots", permit.backend));
        }
    }

    /// A server stopped working on a request.
    pub fn stop(&mut self, request: Request) {
        self.working.retain(|working| working.request != request);
    }

    /// A process died: its connections close.
    pub fn die(&mut self, life: u64) {
        self.working.retain(|working| working.request.0 != life);
        for (_, stand) in self.requests.range_mut((life, TicketId(0))..=(life, TicketId(u64::MAX))) {
            if matches!(stand, Stand::Waits | Stand::Runs) {
                *stand = Stand::Lost;
            }
        }
    }

    /// I1: no permit is held by two live processes.
    pub fn held<'a>(&mut self, owners: impl Iterator<Item = &'a Owner>) {
        let mut seen: BTreeSet<Permit> = BTreeSet::new();
        let mut twice = None;
        for owner in owners {
            for (permit, _) in owner.held() {
                if !seen.insert(permit) {
                    twice = Some(permit);
                }
            }
        }
        if let Some(permit) = twice {
            self.fail("I1", format!("two hold {permit:?}"));
        }
    }

    /// I8: a ticket is granted once a term, unless that was resolved.
    pub fn grant(&mut self, term: Term, plane: PlaneId, ticket: TicketId, permit: Permit) {
        self.grants += 1;
        if self.granted.insert((term, plane, ticket), permit).is_some() {
            self.fail("I8", format!("{ticket:?} of {plane:?} is granted twice in {term:?}"));
        }
    }

    /// The lead knows what became of a grant: by a report (`None`), or because it came back or failed.
    pub fn resolve(&mut self, term: Term, plane: PlaneId, which: Option<Resolved>) {
        self.granted.retain(|(of, whose, ticket), permit| {
            let all = (*of, *whose) == (term, plane);
            let this = which.is_none_or(|which| match which {
                Resolved::Back(back) => back == *permit,
                Resolved::Failed(failed) => failed == *ticket,
            });
            !(all && this)
        });
    }

    /// Requests that still wait or run.
    pub fn pending(&self) -> Vec<Request> {
        let pending = |(_, stand): &(&Request, &Stand)| matches!(stand, Stand::Waits | Stand::Runs);
        self.requests.iter().filter(pending).map(|(request, _)| *request).collect()
    }
}

/// What became of a grant.
#[derive(Clone, Copy, Debug)]
pub enum Resolved {
    /// The permit came back.
    Back(Permit),
    /// The attempt failed, and the ticket waits again.
    Failed(TicketId),
}
