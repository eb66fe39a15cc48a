//! What is known of those who follow by what they say: that they are there, and what they have on their disks.

use proto::v1;

use super::{Publisher, State};
use crate::fleet::Entry;

impl Publisher {
    /// It asks whether it is heard.
    pub(super) fn beat(&self, state: &mut State, stream: u64, beat: v1::Beat) {
        let State { followers, fleet, .. } = state;
        if let Some(follower) = followers.get_mut(&stream).filter(|follower| fleet.answers(&follower.plane)) {
            follower.beat = Some(beat);
            self.news.send_replace(());
        }
    }

    /// What is durable of what a data plane has acknowledged, where it is more than the store knows.
    pub(super) fn acked(&self, plane: &str) -> Option<Entry> {
        let state = self.state();
        let (row, known) = (state.fleet.registry().rows.get(plane)?, state.fleet.plane(plane)?);
        let acked = known.kept.as_ref().filter(|acked| {
            acked.lineage == self.identity.lineage
                && acked.epoch == self.identity.epoch
                && known.hello.incarnation == row.incarnation
        })?;
        let together = state.together.is_some_and(|since| acked.seq >= since);
        let silence_ms = self.silence_ms();
        let more = (together && row.alone) || silence_ms != row.silence_ms;
        let (plane, incarnation) = (plane.to_owned(), row.incarnation);
        more.then_some(Entry::Acked { plane, incarnation, together, silence_ms })
    }

    /// Who was silent for so long that it counts as dead. Nobody of them is answered any more.
    pub(super) fn condemned(&self) -> Vec<(String, u64)> {
        if self.silence.is_zero() {
            return Vec::new();
        }
        let mut state = self.state();
        let State { fleet, followers, .. } = &mut *state;
        let condemned = fleet.condemn(self.now(), self.silence);
        followers.retain(|_, follower| condemned.iter().all(|(plane, _)| *plane != follower.plane));
        condemned
    }

    /// It is not dead after all.
    pub(super) fn spare(&self, plane: &str) {
        self.state().fleet.spare(plane);
    }
}
