//! A second opinion: books of who waits and what runs where, kept from events and decisions alone.
//!
//! It shares no code with the core and is as simple as can be: it looks at everything each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::{
    Arrival, Backend, BackendId, Cause, Decision, Event, Fault, Fleet, Moment, Outcome, SlotId, Span,
    TicketId, View,
};

mod decline;
mod health;
mod load;
mod purse;
mod query;
mod row;
mod share;

pub use decline::Decline;
pub use health::{Health, Stand, up};
pub use purse::Purse;
pub use row::{Held, Refused, Started, Wait};
pub use share::Shares;

use load::Loads;

/// The books. Tickets of one world count upwards in order of arrival.
pub struct Ledger {
    now: Moment,
    before: Moment,
    fleet: Arc<Fleet>,
    /// The last that was known of each backend, also of those that left.
    known: BTreeMap<BackendId, Backend>,
    waiting: BTreeMap<TicketId, Wait>,
    waited: usize,
    running: BTreeMap<TicketId, Held>,
    cooling: Vec<(BackendId, SlotId, Moment)>,
    answers: BTreeMap<TicketId, u32>,
    started: Vec<Started>,
    refused: Vec<Refused>,
    strangers: Vec<TicketId>,
    health: BTreeMap<BackendId, Health>,
    purse: Purse,
    loads: Loads,
    shares: Shares,
    declines: BTreeMap<TicketId, Decline>,
    failed: Option<TicketId>,
    /// Whether the attempt that failed reached a server.
    reached: bool,
    closing: bool,
}

impl Ledger {
    /// Empty books.
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Ledger {
            now: Moment::default(),
            before: Moment::default(),
            known: fleet.backends.clone(),
            health: fleet.backends.iter().map(|(id, seen)| (*id, Health::of(seen.health))).collect(),
            purse: Purse::default(),
            loads: Loads::default(),
            shares: Shares::default(),
            declines: BTreeMap::new(),
            failed: None,
            reached: true,
            closing: false,
            fleet,
            waiting: BTreeMap::new(),
            waited: 0,
            running: BTreeMap::new(),
            cooling: Vec::new(),
            answers: BTreeMap::new(),
            started: Vec::new(),
            refused: Vec::new(),
            strangers: Vec::new(),
        }
    }

    /// Notes an event before the core answers it.
    pub fn note(&mut self, now: Moment, event: &Event) {
        self.before = self.now;
        self.waited = self.waiting.len();
        self.now = self.now.max(now);
        let now = self.now;
        self.cooling.retain(|(_, _, until)| *until > now);
        self.started.clear();
        self.refused.clear();
        self.strangers.clear();
        self.failed = None;
        self.health.values_mut().for_each(|health| health.pass(now));
        self.forget();
        match event {
            Event::Arrive(arrival) => self.arrive(arrival),
            Event::FirstToken { ticket } => {
                let backend = self.running.get(ticket).map(|held| held.backend);
                backend.into_iter().for_each(|backend| self.loads.end(backend));
                if let Some(held) = self.running.get_mut(ticket).filter(|held| !held.streaming) {
                    held.streaming = true;
                    self.health.entry(held.backend).or_default().succeed(held.era, now);
                }
            }
            Event::Fail { ticket, fault, sent } => self.fail(*ticket, *fault, *sent),
            Event::Finish { ticket, outcome, .. } => self.finish(*ticket, *outcome),
            // at the deadline the refusal is first
            Event::Cancel { ticket } => match self.waiting.get(ticket) {
                Some(wait) if wait.arrival.deadline <= now => {}
                Some(_) => {
                    self.waiting.remove(ticket);
                    self.answers.insert(*ticket, 1);
                }
                None => self.finish(*ticket, Outcome::Unsent),
            },
            Event::Told { .. } => {}
            Event::Observe { backend, idle } => {
                self.cooling.retain(|(cooling, _, _)| !(idle & (cooling == backend)));
            }
            Event::Adopt(fleet) => self.adopt(fleet),
            Event::Reroute { fleet, offers } => {
                for (ticket, candidates) in offers {
                    // at the deadline the refusal is first
                    let waits = self.waiting.get_mut(ticket).filter(|wait| wait.arrival.deadline > now);
                    let runs = self.running.get_mut(ticket).map(|held| &mut held.wait);
                    if let Some(wait) = waits.or(runs) {
                        wait.arrival.candidates.clone_from(candidates);
                    }
                }
                self.adopt(fleet);
            }
            Event::Close => self.closing = true,
            Event::Wake => {}
            // of a fleet of data planes, whose slots others judge
            Event::Waited { .. }
            | Event::Began { .. }
            | Event::Back { .. }
            | Event::Slots { .. }
            | Event::Learn(_)
            | Event::Share(_)
            | Event::Recall => {}
        }
        self.forget();
    }

    /// Books a decision of the core.
    pub fn book(&mut self, decision: &Decision) {
        let ticket = match decision {
            Decision::Start { ticket, .. } | Decision::Refuse { ticket, .. } => *ticket,
        };
        *self.answers.entry(ticket).or_default() += 1;
        let Some(wait) = self.waiting.remove(&ticket) else {
            self.strangers.push(ticket);
            return;
        };
        match *decision {
            Decision::Start { backend, slot, .. } => {
                let taken = self.holders(backend).any(|other| other == slot);
                let (better, reserve) = (self.better(&wait, backend), self.reserve(&wait));
                let full = self.free(backend) == 0;
                match wait.tried.is_empty() && wait.unreached.is_none() {
                    true => self.purse.start(self.now),
                    false if self.failed == Some(ticket) && self.reached => self.purse.retry(self.now),
                    false => {}
                }
                let health = self.health.entry(backend).or_default();
                health.start(ticket);
                let (era, model) = (health.era, wait.model(backend));
                let twice = self.load(backend, &wait);
                let since = self.now;
                let held = Held { backend, slot, model, since, streaming: false, era, wait: wait.clone() };
                self.shares.start(&held);
                self.started.push(Started { wait, held: held.clone(), taken, better, reserve, full, twice });
                self.running.insert(ticket, held);
            }
            Decision::Refuse { why, .. } => {
                let spent = self.purse.spent(self.now);
                self.refused.push(Refused { wait, why, others: self.waiting.len(), spent });
            }
        }
    }

    /// Takes from the core what cannot be known from outside, after all its decisions.
    pub fn hear(&mut self, view: &View) {
        for (id, health) in &mut self.health {
            if let Some(said) = view.backends.get(id) {
                health.hear(self.now, &said.breaker);
            }
        }
        if self.reached && self.failed.is_some_and(|ticket| self.waiting.contains_key(&ticket)) {
            self.purse.retry(self.now);
        }
        self.judge_declines();
        self.judge_shares();
    }

    /// Who waits by choice, and since when.
    pub fn declines(&self) -> &BTreeMap<TicketId, Decline> {
        &self.declines
    }

    /// What keys had of the slots.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// The latest moment that was told.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The latest moment that was told before the last event.
    pub fn before(&self) -> Moment {
        self.before
    }

    /// The fleet in force.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Who waits, oldest first.
    pub fn waiting(&self) -> &BTreeMap<TicketId, Wait> {
        &self.waiting
    }

    /// How many waited before the last event.
    pub fn waited(&self) -> usize {
        self.waited
    }

    /// Whether a ticket waits and still does at that moment if nothing else happens.
    pub fn waits_at(&self, ticket: TicketId, at: Moment) -> bool {
        self.waiting.get(&ticket).is_some_and(|wait| wait.arrival.deadline > at)
    }

    /// What runs.
    pub fn running(&self) -> &BTreeMap<TicketId, Held> {
        &self.running
    }

    /// How often each ticket was answered; a cancelled one that waited counts as answered.
    pub fn answers(&self) -> &BTreeMap<TicketId, u32> {
        &self.answers
    }

    /// The starts of the last event, in order.
    pub fn started(&self) -> &[Started] {
        &self.started
    }

    /// The refusals of the last event, in order.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Answers of the last event to tickets that did not wait for one.
    pub fn strangers(&self) -> &[TicketId] {
        &self.strangers
    }

    /// How many slots of a backend cool.
    pub fn cooling(&self, backend: BackendId) -> usize {
        self.cooling.iter().filter(|(cooling, _, _)| *cooling == backend).count()
    }

    /// When the first cooling slot comes back or the first rest ends.
    pub fn next_change(&self) -> Option<Moment> {
        let rests = self.health.values().filter_map(Health::ends);
        self.cooling.iter().map(|(_, _, until)| *until).chain(rests).min()
    }

    /// What outcomes say about each backend of the fleet and those that left it with work on them.
    pub fn health(&self) -> &BTreeMap<BackendId, Health> {
        &self.health
    }

    /// What retries cost so far.
    pub fn purse(&self) -> &Purse {
        &self.purse
    }

    /// The ticket whose attempt failed with the last event.
    pub fn failed(&self) -> Option<TicketId> {
        self.failed
    }

    /// Whether the core was told to close.
    pub fn closing(&self) -> bool {
        self.closing
    }

    /// The last that was known of a backend.
    pub fn known(&self, backend: BackendId) -> Option<&Backend> {
        self.known.get(&backend)
    }

    fn arrive(&mut self, arrival: &Arrival) {
        if !self.waiting.contains_key(&arrival.ticket) && !self.running.contains_key(&arrival.ticket) {
            self.answers.entry(arrival.ticket).or_default();
            let wait = Wait { arrival: arrival.clone(), since: self.now, tried: Vec::new(), unreached: None };
            self.waiting.insert(arrival.ticket, wait);
        }
    }

    fn adopt(&mut self, fleet: &Arc<Fleet>) {
        self.fleet = fleet.clone();
        for (id, backend) in &fleet.backends {
            self.health.entry(*id).or_default().probed(backend.health);
        }
        self.known.extend(fleet.backends.iter().map(|(id, backend)| (*id, backend.clone())));
    }

    fn finish(&mut self, ticket: TicketId, outcome: Outcome) {
        let Some(held) = self.running.remove(&ticket) else { return };
        self.shares.end(&held, self.now);
        if self.busy(held.backend) == 0 {
            self.loads.end(held.backend);
        }
        let health = self.health.entry(held.backend).or_default();
        match outcome {
            Outcome::Done if held.streaming => {}
            Outcome::Done => health.succeed(held.era, self.now),
            Outcome::Failed => health.fail(held.era, self.now, Cause::Failed),
            Outcome::Aborted | Outcome::Unsent => health.let_go(ticket),
        }
        if matches!(outcome, Outcome::Failed | Outcome::Aborted) {
            self.cool(&held);
        }
    }

    /// The ticket waits again for what it was not tried on.
    fn fail(&mut self, ticket: TicketId, fault: Fault, sent: bool) {
        let Some(held) = self.running.remove(&ticket) else { return };
        self.shares.end(&held, self.now);
        if self.busy(held.backend) == 0 {
            self.loads.end(held.backend);
        }
        let health = self.health.entry(held.backend).or_default();
        match fault {
            Fault::Limited { retry_after } => {
                let rest = retry_after.unwrap_or_default().clamp(Span::from_secs(1), Span::from_secs(60));
                health.let_go(ticket);
                health.limit(self.now + rest, Cause::Fault(fault));
            }
            Fault::Slow => health.let_go(ticket),
            _ => health.fail(held.era, self.now, Cause::Fault(fault)),
        }
        if sent {
            self.cool(&held);
        }
        let mut wait = held.wait;
        self.reached = fault != Fault::Refused || sent || held.streaming;
        if self.reached {
            wait.tried.push(held.backend);
        } else {
            let first = *wait.unreached.get_or_insert(self.now);
            let up = self.feasible(&wait).into_iter().filter(|(_, seen)| up(seen));
            let mut rests = up.map(|(id, _)| self.health.get(&id).and_then(Health::rests_until));
            // the core alone knows how long each rests
            if rests.all(|rests| rests.is_some()) {
                let deadline = &mut wait.arrival.deadline;
                *deadline = (*deadline).min(first + Span::from_secs(10));
            }
        }
        self.failed = Some(ticket);
        *self.answers.entry(ticket).or_default() -= 1;
        self.waiting.insert(ticket, wait);
    }

    fn cool(&mut self, held: &Held) {
        if let Some(backend) = self.known.get(&held.backend)
            && backend.release_grace.0 > 0
        {
            self.cooling.push((held.backend, held.slot, self.now + backend.release_grace));
        }
    }

    /// Nothing is remembered of a backend that left the fleet and has no work.
    fn forget(&mut self) {
        let mut health = std::mem::take(&mut self.health);
        health.retain(|id, _| self.fleet.backends.contains_key(id) || self.busy(*id) + self.cooling(*id) > 0);
        self.health = health;
        let health = &self.health;
        self.loads.retain(|id| health.contains_key(id));
    }
}
