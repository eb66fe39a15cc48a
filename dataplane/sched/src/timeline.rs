//! When the busy slots come free, as things stand and with what was reserved since.

use std::collections::BTreeMap;

use crate::chain::Sequence;
use crate::queue::Ticket;
use crate::room::Room;
use crate::slots::Slots;
use crate::weigh::Later;
use crate::{BackendId, Moment, SERVICE_GUESS};

/// A slot that will be free.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// In so many seconds.
    pub(crate) at: f64,
    /// What will be in it; none where a request was cut off and the server's slot is free already.
    pub(crate) held: Option<Sequence>,
}

/// When the busy slots come free, and for whom.
#[derive(Default)]
pub(crate) struct Timeline {
    turns: BTreeMap<BackendId, Vec<Turn>>,
    /// How many wait for a backend that are in no turn.
    backlog: BTreeMap<BackendId, f64>,
}

impl Timeline {
    /// Begins anew, with so many before each backend that will not be weighed.
    pub(crate) fn clear(&mut self, backlog: BTreeMap<BackendId, f64>) {
        self.turns.clear();
        self.backlog = backlog;
    }

    /// Begins anew, with nobody before anybody.
    pub(crate) fn forget(&mut self) {
        if !self.turns.is_empty() || !self.backlog.is_empty() {
            self.clear(BTreeMap::new());
        }
    }

    /// The busy slots of a backend as they stand, with what was reserved since.
    pub(crate) fn of(&mut self, id: BackendId, room: &Room, slots: &Slots, now: Moment) -> &[Turn] {
        let ahead = self.backlog.get(&id).copied().unwrap_or_default();
        self.turns.entry(id).or_insert_with(|| {
            let mean = room.pace.mean().unwrap_or(SERVICE_GUESS).secs();
            let ahead = ahead * mean / f64::from(room.slots().max(1));
            let runs = room.runs.iter().filter_map(|ticket| slots.run(*ticket)).map(|run| {
                let times = (run.since, run.first);
                let at = slots.known.rest(&run.ticket, &run.course, times, now);
                let held =
                    Sequence { prompt: run.ticket.arrival.prompt.clone(), answer: run.course.answer as u32 };
                Turn { at: at + ahead, held: Some(held) }
            });
            let cooling =
                room.cooling.values().map(|until| Turn { at: until.since(now).secs() + ahead, held: None });
            runs.chain(cooling).collect()
        })
    }

    /// A request that waits for this slot will have it next, if nothing better comes.
    pub(crate) fn reserve(&mut self, later: &Later, ticket: &Ticket, answer: f64) {
        let turns = self.turns.get_mut(&later.backend);
        if let Some(turn) = turns.and_then(|turns| turns.get_mut(later.turn)) {
            turn.at += later.service.max(0.05);
            turn.held = Some(Sequence { prompt: ticket.arrival.prompt.clone(), answer: answer as u32 });
        }
    }
}
