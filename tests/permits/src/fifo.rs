//! Who runs next by arrival alone: the plainest order that the lead can have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sched::lead::{Order, Verdict};
use sched::permit::{Ticket, Wants};
use sched::{BackendId, Fault, Moment, Outcome, TicketId, Usage};

use crate::world::Known;

#[derive(Debug)]
struct Entry {
    since: Moment,
    backends: Vec<BackendId>,
    runs: Option<BackendId>,
}

#[derive(Debug, Default)]
struct Room {
    slots: u32,
    busy: u32,
    line: BTreeSet<(Moment, TicketId)>,
}

/// First come, first served, on the first candidate with a free slot.
#[derive(Debug, Default)]
pub struct Fifo {
    entries: BTreeMap<TicketId, Entry>,
    waiting: BTreeSet<(Moment, TicketId)>,
    rooms: BTreeMap<BackendId, Room>,
}

impl Fifo {
    fn wait(&mut self, number: TicketId) {
        let Some(entry) = self.entries.get(&number) else { return };
        for backend in &entry.backends {
            self.rooms.entry(*backend).or_default().line.insert((entry.since, number));
        }
        self.waiting.insert((entry.since, number));
    }

    fn leave(&mut self, number: TicketId) {
        let Some(entry) = self.entries.get(&number) else { return };
        self.waiting.remove(&(entry.since, number));
        for backend in &entry.backends {
            if let Some(room) = self.rooms.get_mut(backend) {
                room.line.remove(&(entry.since, number));
            }
        }
    }

    /// Ends what runs of it.
    fn stop(&mut self, number: TicketId) {
        if let Some(backend) = self.entries.get_mut(&number).and_then(|entry| entry.runs.take())
            && let Some(room) = self.rooms.get_mut(&backend)
        {
            room.busy -= 1;
        }
    }
}

impl Known for Fifo {
    fn tickets(&self) -> Vec<TicketId> {
        self.entries.keys().copied().collect()
    }
}

impl Order for Fifo {
    fn arrive(&mut self, _: Moment, number: TicketId, since: Moment, ticket: &Ticket) {
        let backends = ticket.wants.candidates.iter().map(|candidate| candidate.backend);
        let backends = backends.filter(|backend| !ticket.tried.contains(backend)).collect();
        self.entries.insert(number, Entry { since, backends, runs: None });
        self.wait(number);
    }

    fn began(&mut self, now: Moment, number: TicketId, backend: BackendId, wants: Option<&Arc<Wants>>) {
        self.leave(number);
        self.stop(number);
        let candidates = wants.into_iter().flat_map(|wants| wants.candidates.iter());
        let backends = candidates.map(|candidate| candidate.backend).collect();
        let new = || Entry { since: now, backends, runs: None };
        self.entries.entry(number).or_insert_with(new).runs = Some(backend);
        self.rooms.entry(backend).or_default().busy += 1;
    }

    fn back(&mut self, _: Moment, number: TicketId) {
        self.stop(number);
        self.wait(number);
    }

    fn first_token(&mut self, _: Moment, _: TicketId) {}

    fn finish(&mut self, now: Moment, number: TicketId, _: Outcome, _: Usage) {
        self.cancel(now, number);
    }

    fn fail(&mut self, now: Moment, number: TicketId, _: Fault, _: bool) {
        self.back(now, number);
    }

    fn cancel(&mut self, _: Moment, number: TicketId) {
        self.leave(number);
        self.stop(number);
        self.entries.remove(&number);
    }

    fn slots(&mut self, _: Moment, backend: BackendId, slots: u32) {
        self.rooms.entry(backend).or_default().slots = slots;
    }

    fn decide(&mut self, _: Moment, out: &mut Vec<Verdict>) {
        let mut open: BTreeSet<BackendId> = BTreeSet::new();
        open.extend(self.rooms.iter().filter(|(_, room)| room.busy < room.slots).map(|(id, _)| *id));
        if open.is_empty() {
            return;
        }
        let mut starts = Vec::new();
        for (_, number) in &self.waiting {
            let Some(entry) = self.entries.get_mut(number) else { continue };
            let Some(backend) = entry.backends.iter().find(|backend| open.contains(backend)) else {
                continue;
            };
            let room = self.rooms.get_mut(backend).expect("an open room is a room");
            room.busy += 1;
            if room.busy == room.slots {
                open.remove(backend);
            }
            entry.runs = Some(*backend);
            starts.push((*number, *backend));
            if open.is_empty() {
                break;
            }
        }
        for (number, backend) in starts {
            self.leave(number);
            out.push(Verdict::Start { number, backend });
        }
    }

    fn front(&self, backend: BackendId, most: usize) -> Vec<TicketId> {
        let line = self.rooms.get(&backend).into_iter().flat_map(|room| room.line.iter());
        line.take(most).map(|(_, number)| *number).collect()
    }

    fn contended(&self, backend: BackendId) -> bool {
        self.rooms.get(&backend).is_some_and(|room| !room.line.is_empty())
    }

    fn next_wake(&self) -> Option<Moment> {
        None
    }
}
