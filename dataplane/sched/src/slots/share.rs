//! Slots that several data planes use: what began without being asked for, what came to nothing, and how many take part.

use std::sync::Arc;

use super::Slots;
use crate::place::Place;
use crate::queue::Ticket;
use crate::room::Room;
use crate::{Backend, BackendId, Cache, End, Health, Held, Moment, Span, TicketId};

impl Slots {
    /// So many slots of a backend take part; `None`: as many as it has.
    pub(crate) fn give(&mut self, backend: BackendId, slots: Option<u32>) {
        match slots {
            // of one that is not there nobody needs to know that none takes part
            Some(slots) if slots > 0 || self.rooms.get(backend).is_some() => {
                self.given.insert(backend, slots);
            }
            _ => drop(self.given.remove(&backend)),
        }
        if let Some(room) = self.rooms.get_mut(backend) {
            room.limit(slots);
        }
    }

    /// A request runs there, whether a slot is free or not, and whether the backend is known or not.
    pub(crate) fn begin(&mut self, ticket: Box<Ticket>, place: &Place, now: Moment) {
        self.house(place.backend);
        self.start(ticket, place, now);
    }

    /// As `begin`, of one of which nothing is known but where.
    pub(crate) fn lodge(&mut self, ticket: TicketId, backend: BackendId) {
        let slot = self.house(backend).take();
        self.strangers.insert(ticket, (backend, slot));
    }

    /// Ends one of which nothing is known; the answer is its backend.
    pub(crate) fn part(&mut self, ticket: TicketId) -> Option<BackendId> {
        let (backend, slot) = self.strangers.remove(&ticket)?;
        let room = self.rooms.get_mut(backend).expect("a room stays while a request runs in it");
        room.busy -= 1;
        room.give(slot);
        self.settle(backend);
        Some(backend)
    }

    /// A start that came to nothing, of which nothing is learned.
    pub(crate) fn back(&mut self, ticket: TicketId, now: Moment) -> Option<(Box<Ticket>, BackendId)> {
        let mut run = self.runs.remove(&ticket)?;
        let backend = run.backend;
        self.known.undo(&run.ticket, &mut run.course, now);
        let room = self.rooms.get_mut(backend).expect("a room stays while a request runs in it");
        room.switch.pass(run.era);
        self.release(&run, false, Span::ZERO, now);
        self.unload(&run);
        self.settle(backend);
        run.ticket.tried.pop();
        Some((run.ticket, backend))
    }

    /// Where a request runs.
    pub(crate) fn where_is(&self, ticket: TicketId) -> Option<BackendId> {
        let stranger = || self.strangers.get(&ticket).map(|(backend, _)| *backend);
        self.runs.get(&ticket).map(|run| run.backend).or_else(stranger)
    }

    /// Those that run of which more is known than where.
    pub(crate) fn started(&self) -> impl Iterator<Item = &Ticket> {
        self.runs.values().map(|run| &*run.ticket)
    }

    /// All that run.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = TicketId> {
        self.runs.keys().chain(self.strangers.keys()).copied()
    }

    /// Whether others wait until engines have stopped.
    pub(crate) fn share(&mut self, shared: bool) {
        self.shared = shared;
    }

    /// What is taken and what cools.
    pub(crate) fn held(&self) -> Held {
        let runs = self.runs.iter().map(|(ticket, run)| (*ticket, run.backend, run.slot));
        let strangers = self.strangers.iter().map(|(ticket, (backend, slot))| (*ticket, *backend, *slot));
        Held { runs: runs.chain(strangers).collect(), cooling: self.cooling.iter().copied().collect() }
    }

    /// Nothing runs and nothing cools any more, as many slots take part as there are, and what was learned stays.
    pub(crate) fn recall(&mut self, now: Moment) {
        for ticket in self.strangers.keys().copied().collect::<Vec<_>>() {
            self.part(ticket);
        }
        for (id, run) in std::mem::take(&mut self.runs) {
            // it goes on: what is read there stays
            self.known.caches.finish(run.course.place, id, 0, End::Unknown, now);
            if let Some(room) = self.rooms.get_mut(run.backend) {
                room.switch.pass(run.era);
            }
            self.release(&run, false, now.since(run.since), now);
        }
        self.given.clear();
        for backend in self.rooms.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            self.idle(backend);
            if let Some(room) = self.rooms.get_mut(backend) {
                room.limit(None);
            }
        }
    }

    /// The room of a backend, one that is not in the fleet if need be.
    fn house(&mut self, backend: BackendId) -> &mut Room {
        self.rooms.get_or_insert_with(backend, || {
            Room::new(Backend {
                slots: 0,
                priority: 0,
                max_input_tokens: None,
                health: Health::Unknown,
                draining: false,
                release_grace: Span::ZERO,
                cache: Cache::default(),
                models_max: None,
                resident: Arc::from([]),
                lot: 0,
            })
        })
    }
}
