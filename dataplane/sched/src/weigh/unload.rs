//! What a load costs others: the model that goes takes all that was cached for it along.

use super::{HOLD_TOKENS_MIN, Weigher};
use crate::affinity::{Lost, Mirror};
use crate::chain::Chain;
use crate::returns::End;
use crate::room::Room;
use crate::{BackendId, ModelId, Span};

/// What is read again by those who come back, and how much somebody is wanted back now.
#[derive(Default)]
struct Loss {
    /// Seconds.
    again: f64,
    /// Seconds, each second.
    pull: f64,
}

impl Weigher<'_> {
    /// Seconds that a load of `model` there makes others read again, weighted with the chance that they come back; `None`
    /// when one will be back so soon that the server is kept for it. Where the load is due nobody else may start there.
    pub(super) fn unloads(&mut self, (backend, model): (BackendId, ModelId), room: &Room) -> Option<f64> {
        let loss = self.unloaded((backend, model), room);
        let due = room.memory.claimed == Some(model);
        (due || self.tuning.hold * loss.pull <= 1.0).then_some(self.tuning.eviction_weight * loss.again)
    }

    /// The same for a load when what runs there has ended, which nobody is kept from.
    pub(super) fn unloads_later(&mut self, place: (BackendId, ModelId), room: &Room) -> f64 {
        self.tuning.eviction_weight * self.unloaded(place, room).again
    }

    fn unloaded(&mut self, (backend, model): (BackendId, ModelId), room: &Room) -> Loss {
        let mut loss = Loss::default();
        let gone = room.backend.models_max.and_then(|most| room.memory.displaces(model, most as usize));
        let known = &self.slots.known;
        let Some(place) = gone.map(|gone| (backend, gone)) else { return loss };
        let rate = known.speeds.prefill(place);
        let horizon = self.tuning.return_horizon.secs();
        let mut lose = |tokens: u32, age: Span, end: End| {
            let secs = f64::from(tokens) / rate;
            loss.again += secs * known.returns.within(age.secs(), horizon, end);
            secs * known.returns.hazard(age.secs(), end)
        };
        match known.caches.mirror(place) {
            Some(Mirror::Lanes(lanes)) => {
                for lane in lanes.lanes() {
                    let tokens = lane.held.tokens();
                    if lane.ticket.is_some() {
                        lose(tokens, Span::ZERO, End::Unknown);
                        continue;
                    }
                    let age = self.now.since(lane.last);
                    let pull = lose(tokens, age, lane.end);
                    let keeps = self.now.since(lane.tenure) < self.tuning.hold_tenure;
                    if keeps && tokens > HOLD_TOKENS_MIN && age < self.tuning.hold_max {
                        loss.pull += pull;
                    }
                }
                for (tokens, last) in lanes.saved() {
                    lose(tokens, self.now.since(last), End::Unknown);
                }
            }
            Some(Mirror::Pool(pool)) => {
                self.lost.clear();
                pool.displaced(&Chain::default(), 0, u32::MAX, self.now, self.lost);
                for Lost { tokens, age } in self.lost.iter() {
                    lose(*tokens, *age, End::Unknown);
                }
            }
            None => {}
        }
        loss
    }
}
