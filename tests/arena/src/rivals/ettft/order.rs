//! In which order waiting requests are looked at.

use super::Ettft;
use crate::engine::World;

/// What looking at a request charges its key, beside its answer, in slot seconds.
const LOOK_S: f64 = 2.0;
/// At so many tokens a second.
const LOOK_TPS: f64 = 30.0;

impl Ettft {
    pub(super) fn order(&self, world: &World) -> Vec<usize> {
        let window = self.switches.window;
        let Some(quantum) = self.switches.fair else {
            return self.waiting.iter().copied().take(window).collect();
        };
        // Again and again the key with the least service, in steps of the quantum, then the oldest.
        let key = |ticket: usize| world.tickets[ticket].request.key;
        let mut service = self.books.service.clone();
        let mut rest = self.waiting.clone();
        let mut order = Vec::new();
        while !rest.is_empty() && order.len() < window {
            let least = rest.iter().map(|ticket| service[key(*ticket)]).fold(f64::INFINITY, f64::min);
            let rank = |ticket: usize| ((service[key(ticket)] - least) / quantum.max(1e-9)).floor();
            let arrived = |ticket: usize| world.tickets[ticket].record.arrived;
            let first = rest.iter().enumerate().min_by(|(_, a), (_, b)| {
                rank(**a).total_cmp(&rank(**b)).then(arrived(**a).total_cmp(&arrived(**b)))
            });
            let Some((index, _)) = first else { break };
            let ticket = rest.remove(index);
            service[key(ticket)] += LOOK_S + self.books.output(world, ticket) / LOOK_TPS;
            order.push(ticket);
        }
        order
    }
}
