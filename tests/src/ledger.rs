//! A second opinion: books of who waits and what runs where, kept from events and decisions alone.
//!
//! It shares no code with the core and is as simple as can be: it looks at everything each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::{
    Arrival, Backend, BackendId, Decision, Event, Fleet, Moment, Outcome, Refusal, SlotId, TicketId,
};

/// Someone who waits.
#[derive(Clone, Debug)]
pub struct Wait {
    /// What it wants.
    pub arrival: Arrival,
    /// Since when.
    pub since: Moment,
}

/// A slot that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// Where.
    pub backend: BackendId,
    /// Which.
    pub slot: SlotId,
    /// Whether the first token has passed.
    pub streaming: bool,
}

/// A start of the last event, with what the ledger knew just before it.
#[derive(Clone, Debug)]
pub struct Started {
    /// Who.
    pub wait: Wait,
    /// What it got.
    pub held: Held,
    /// Whether another request had that slot.
    pub taken: bool,
    /// A backend with a free slot that it should have got instead.
    pub better: Option<BackendId>,
}

/// A refusal of the last event.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Who.
    pub wait: Wait,
    /// Why.
    pub why: Refusal,
    /// How many others waited.
    pub others: usize,
}

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
}

impl Ledger {
    /// Empty books.
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Ledger {
            now: Moment::default(),
            before: Moment::default(),
            known: fleet.backends.clone(),
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
        match event {
            Event::Arrive(arrival) => self.arrive(arrival),
            Event::FirstToken { ticket } => {
                if let Some(held) = self.running.get_mut(ticket) {
                    held.streaming = true;
                }
            }
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
            Event::Observe { backend, idle } => {
                self.cooling.retain(|(cooling, _, _)| !(idle & (cooling == backend)));
            }
            Event::Adopt(fleet) => {
                self.fleet = fleet.clone();
                self.known.extend(fleet.backends.iter().map(|(id, backend)| (*id, backend.clone())));
            }
            // nothing fails before its content and nothing closes in these worlds
            Event::Fail { .. } | Event::Close | Event::Wake => {}
        }
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
                let held = Held { backend, slot, streaming: false };
                let taken = self.holders(backend).any(|other| other == slot);
                let better = self.better(&wait.arrival, backend);
                self.started.push(Started { wait, held: held.clone(), taken, better });
                self.running.insert(ticket, held);
            }
            Decision::Refuse { why, .. } => {
                self.refused.push(Refused { wait, why, others: self.waiting.len() });
            }
        }
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

    /// When the first cooling slot comes back.
    pub fn next_cooled(&self) -> Option<Moment> {
        self.cooling.iter().map(|(_, _, until)| *until).min()
    }

    /// How many requests run on a backend.
    pub fn busy(&self, backend: BackendId) -> usize {
        self.running.values().filter(|held| held.backend == backend).count()
    }

    /// How many more requests a backend may take now.
    pub fn free(&self, backend: BackendId) -> usize {
        let Some(seen) = self.fleet.backends.get(&backend) else { return 0 };
        match seen.healthy && !seen.draining {
            true => (seen.slots as usize).saturating_sub(self.busy(backend) + self.cooling(backend)),
            false => 0,
        }
    }

    /// The backends of the fleet that a request names.
    pub fn named(&self, arrival: &Arrival) -> BTreeMap<BackendId, &Backend> {
        let ids = arrival.candidates.iter().map(|candidate| candidate.backend);
        ids.filter_map(|id| self.fleet.backends.get(&id).map(|backend| (id, backend))).collect()
    }

    /// Whether a request may run on a backend of the fleet: it names it, and fits with a tenth to spare.
    pub fn may(&self, arrival: &Arrival, backend: BackendId) -> bool {
        let needed = u64::from(arrival.prompt_tokens) * 11;
        let fits = |limit: u32| needed <= u64::from(limit) * 10;
        arrival.candidates.iter().any(|candidate| candidate.backend == backend)
            && self.fleet.backends.get(&backend).is_some_and(|seen| seen.max_input_tokens.is_none_or(fits))
    }

    /// The backends that a request may run on.
    pub fn feasible(&self, arrival: &Arrival) -> BTreeMap<BackendId, &Backend> {
        let mut named = self.named(arrival);
        named.retain(|id, _| self.may(arrival, *id));
        named
    }

    fn arrive(&mut self, arrival: &Arrival) {
        if !self.waiting.contains_key(&arrival.ticket) && !self.running.contains_key(&arrival.ticket) {
            self.answers.entry(arrival.ticket).or_default();
            self.waiting.insert(arrival.ticket, Wait { arrival: arrival.clone(), since: self.now });
        }
    }

    fn finish(&mut self, ticket: TicketId, outcome: Outcome) {
        let Some(held) = self.running.remove(&ticket) else { return };
        let cut = matches!(outcome, Outcome::Failed | Outcome::Aborted);
        if let Some(backend) = self.known.get(&held.backend)
            && cut
            && backend.release_grace.0 > 0
        {
            self.cooling.push((held.backend, held.slot, self.now + backend.release_grace));
        }
    }

    fn holders(&self, backend: BackendId) -> impl Iterator<Item = SlotId> {
        let running = self.running.values().map(|held| (held.backend, held.slot));
        let cooling = self.cooling.iter().map(|(id, slot, _)| (*id, *slot));
        running.chain(cooling).filter(move |(id, _)| *id == backend).map(|(_, slot)| slot)
    }

    fn better(&self, arrival: &Arrival, chosen: BackendId) -> Option<BackendId> {
        let feasible = self.feasible(arrival);
        let merit = |id: BackendId, backend: &Backend| {
            let share = self.free(id) as f64 / f64::from(backend.slots.max(1));
            (backend.priority, share)
        };
        let own = feasible.get(&chosen).map(|backend| merit(chosen, backend))?;
        let better =
            |(id, backend): &(&BackendId, &&Backend)| self.free(**id) > 0 && merit(**id, backend) > own;
        feasible.iter().find(better).map(|(id, _)| *id)
    }
}
