//! The scheduling core of the product as the order of a fleet, through what it offers to one data plane today.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::lead::{Order, Verdict};
use sched::permit::{Ticket, Wants};
use sched::{
    Backend, BackendId, Cache, Decision, Event, Fault, Fleet, Health, Moment, Outcome, Scheduler, Span,
    TicketId, Tuning, Usage,
};

use crate::world::Known;

struct Entry {
    since: Moment,
    ticket: Ticket,
    /// As the scheduler knows it; `None`: it began unasked, and the scheduler has a slot less.
    told: Option<TicketId>,
    runs: Option<BackendId>,
}

/// The scheduler sees all slots as its own; what began unasked is a slot less for as long as it runs.
pub struct Core {
    scheduler: Scheduler,
    fleet: Fleet,
    slots: BTreeMap<BackendId, u32>,
    taken: BTreeMap<BackendId, u32>,
    entries: BTreeMap<TicketId, Entry>,
    numbers: BTreeMap<TicketId, TicketId>,
    decided: Vec<Decision>,
    drawn: u64,
}

impl Core {
    /// A scheduler that serves in order of arrival where nothing else speaks for one or the other.
    pub fn new() -> Self {
        let tuning = Tuning { fair_quantum: None, ..Tuning::default() };
        let fleet = Fleet { owner: true, queue_max: 65_536, tuning, backends: BTreeMap::new() };
        Core {
            scheduler: Scheduler::new(1, Arc::new(fleet.clone())),
            fleet,
            slots: BTreeMap::new(),
            taken: BTreeMap::new(),
            entries: BTreeMap::new(),
            numbers: BTreeMap::new(),
            decided: Vec::new(),
            drawn: 0,
        }
    }

    fn tell(&mut self, now: Moment, event: Event) {
        self.scheduler.handle(now, event, &mut self.decided);
    }

    /// How many slots of a backend are there for the scheduler.
    fn adopt(&mut self, now: Moment, backend: BackendId) {
        let slots = self.slots.get(&backend).copied().unwrap_or_default();
        let taken = self.taken.get(&backend).copied().unwrap_or_default();
        let new = || Backend {
            slots: 0,
            priority: 0,
            max_input_tokens: None,
            health: Health::Healthy,
            draining: false,
            release_grace: Span::ZERO,
            cache: Cache::Pool { tokens: 100_000 },
            models_max: None,
            resident: Arc::from([]),
        };
        self.fleet.backends.entry(backend).or_insert_with(new).slots = slots.saturating_sub(taken);
        self.tell(now, Event::Adopt(Arc::new(self.fleet.clone())));
    }

    /// Tells of a ticket as if it had come when it did: those that came later and wait come again behind it.
    fn tell_arrival(&mut self, now: Moment, number: TicketId, since: Moment, ticket: Ticket) {
        let later = |(other, entry): (&TicketId, &Entry)| {
            let waits =
                entry.told.is_some() && entry.runs.is_none() && (entry.since, *other) > (since, number);
            waits.then_some((entry.since, *other))
        };
        let mut again: Vec<(Moment, TicketId)> = self.entries.iter().filter_map(later).collect();
        again.sort_unstable();
        let mut tickets = vec![(number, since, ticket)];
        for (since, number) in again {
            let entry = self.forget(now, number, |ticket| Event::Cancel { ticket });
            tickets.extend(entry.map(|entry| (number, since, entry.ticket)));
        }
        for (number, since, ticket) in tickets {
            self.drawn += 1;
            let id = TicketId(self.drawn);
            let arrival = ticket.arrival(id, now);
            self.numbers.insert(id, number);
            self.entries.insert(number, Entry { since, ticket, told: Some(id), runs: None });
            self.tell(now, Event::Arrive(arrival));
        }
    }

    /// The scheduler hears no more of a ticket, in this way.
    fn forget(
        &mut self,
        now: Moment,
        number: TicketId,
        last: impl FnOnce(TicketId) -> Event,
    ) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        match (&entry.told, entry.runs) {
            (Some(id), _) => {
                self.numbers.remove(id);
                self.tell(now, last(*id));
            }
            (None, Some(backend)) => {
                if let Some(taken) = self.taken.get_mut(&backend) {
                    *taken -= 1;
                }
                self.adopt(now, backend);
            }
            (None, None) => {}
        }
        Some(entry)
    }

    fn waiting(&self, backend: BackendId) -> impl Iterator<Item = (Moment, TicketId)> {
        let wants = move |entry: &Entry| {
            let mut candidates = entry.ticket.wants.candidates.iter();
            entry.runs.is_none() && candidates.any(|candidate| candidate.backend == backend)
        };
        let waiting = self.entries.iter().filter(move |(_, entry)| wants(entry));
        waiting.map(|(number, entry)| (entry.since, *number))
    }
}

impl Default for Core {
    fn default() -> Self {
        Core::new()
    }
}

impl Known for Core {
    fn tickets(&self) -> Vec<TicketId> {
        self.entries.keys().copied().collect()
    }
}

impl Order for Core {
    fn arrive(&mut self, now: Moment, number: TicketId, since: Moment, ticket: &Ticket) {
        self.tell_arrival(now, number, since, ticket.clone());
    }

    fn began(&mut self, now: Moment, number: TicketId, backend: BackendId, wants: Option<&Arc<Wants>>) {
        *self.taken.entry(backend).or_default() += 1;
        self.adopt(now, backend);
        let patience = Span::from_secs(600);
        let new = |wants: &Arc<Wants>| Ticket {
            id: number,
            age: Span::ZERO,
            patience,
            wants: wants.clone(),
            tried: Vec::new(),
        };
        let known = self.forget(now, number, |ticket| Event::Cancel { ticket });
        let known = known.map(|entry| (entry.since, entry.ticket));
        if let Some((since, ticket)) = known.or_else(|| Some((now, new(wants?)))) {
            self.entries.insert(number, Entry { since, ticket, told: None, runs: Some(backend) });
        }
    }

    fn back(&mut self, now: Moment, number: TicketId) {
        if let Some(entry) = self.forget(now, number, |ticket| Event::Cancel { ticket }) {
            self.tell_arrival(now, number, entry.since, entry.ticket);
        }
    }

    fn first_token(&mut self, now: Moment, number: TicketId) {
        if let Some(Entry { told: Some(ticket), .. }) = self.entries.get(&number) {
            let ticket = *ticket;
            self.tell(now, Event::FirstToken { ticket });
        }
    }

    fn finish(&mut self, now: Moment, number: TicketId, outcome: Outcome, usage: Usage) {
        self.forget(now, number, |ticket| Event::Finish { ticket, outcome, usage });
    }

    fn fail(&mut self, now: Moment, number: TicketId, _: Fault, _: bool) {
        // its servers fail at random and are well: no breaker is to rest for them
        self.back(now, number);
    }

    fn cancel(&mut self, now: Moment, number: TicketId) {
        self.forget(now, number, |ticket| Event::Cancel { ticket });
    }

    fn slots(&mut self, now: Moment, backend: BackendId, slots: u32) {
        if self.slots.insert(backend, slots) != Some(slots) {
            self.adopt(now, backend);
        }
    }

    fn decide(&mut self, now: Moment, out: &mut Vec<Verdict>) {
        if self.scheduler.next_wake().is_some_and(|wake| wake <= now) {
            self.tell(now, Event::Wake);
        }
        for decision in std::mem::take(&mut self.decided) {
            match decision {
                Decision::Start { ticket, backend, .. } => {
                    let Some(number) = self.numbers.get(&ticket).copied() else { continue };
                    if let Some(entry) = self.entries.get_mut(&number) {
                        entry.runs = Some(backend);
                    }
                    out.push(Verdict::Start { number, backend });
                }
                Decision::Refuse { ticket, why } => {
                    if let Some(number) = self.numbers.remove(&ticket) {
                        self.entries.remove(&number);
                        out.push(Verdict::Refuse { number, why });
                    }
                }
            }
        }
    }

    fn front(&self, backend: BackendId, most: usize) -> Vec<TicketId> {
        let mut waiting: Vec<(Moment, TicketId)> = self.waiting(backend).collect();
        waiting.sort_unstable();
        waiting.into_iter().take(most).map(|(_, number)| number).collect()
    }

    fn contended(&self, backend: BackendId) -> bool {
        self.waiting(backend).next().is_some()
    }

    fn next_wake(&self) -> Option<Moment> {
        self.scheduler.next_wake()
    }
}
