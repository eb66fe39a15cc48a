//! A new picture of the fleet: which rooms there are and what they are like.

use super::Slots;
use crate::room::Room;
use crate::{Fleet, Moment};

/// What an adopted fleet asks of those who wait.
#[derive(Default)]
pub(crate) struct Change {
    /// Backends came or went, or a limit of input moved: who may run where is to be found anew.
    pub(crate) eligibility: bool,
    /// A backend began to drain.
    pub(crate) draining: bool,
}

impl Slots {
    pub(crate) fn adopt(&mut self, fleet: &Fleet, now: Moment) -> Change {
        let mut change = Change::default();
        for (id, room) in self.rooms.iter_mut() {
            let stays = fleet.backends.contains_key(&id);
            change.eligibility |= room.present && !stays;
            room.present &= stays;
        }
        for (id, backend) in &fleet.backends {
            let room = self.rooms.get_or_insert_with(*id, || Room::new(backend.clone()));
            change.eligibility |= !room.present;
            change.eligibility |= room.backend.max_input_tokens != backend.max_input_tokens;
            change.draining |= backend.draining && !room.backend.draining;
            room.hear(backend.health);
            let same = room.present
                && room.backend.resident == backend.resident
                && room.backend.models_max == backend.models_max;
            if let Some(most) = backend.models_max.filter(|_| !same) {
                for gone in room.memory.told(&backend.resident, most as usize, now) {
                    self.known.caches.unload((*id, gone));
                }
            }
            room.present = true;
            room.backend.clone_from(backend);
            room.limit(self.given.get(id).copied());
        }
        self.swapping.clear();
        let swapping = fleet.backends.iter().filter(|(_, backend)| backend.models_max.is_some());
        self.swapping.extend(swapping.map(|(id, _)| *id));
        for backend in self.rooms.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            self.settle(backend);
        }
        change
    }
}
