//! Faulty doubles of the core: the scheduler with one fault each, to show that the laws bite.

use std::sync::Arc;

use sched::{Arrival, Backend, Decision, Event, Fleet, Moment, Refusal, Scheduler, View};

use super::Core;

/// What is wrong with a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It believes in one slot more than there is.
    MoreSlots,
    /// It gives a slot away while the engine still works on what was cut off.
    NoGrace,
    /// It says every seventh answer twice.
    Stutters,
    /// It keeps every seventh answer to itself.
    Swallows,
    /// It does not hear every seventh end of a request.
    Deaf,
    /// It believes in one slot less where there are several.
    FewerSlots,
    /// It takes an arrival in only after the next event.
    Overtakes,
    /// It has priorities the wrong way round.
    Perverse,
    /// It lets one more wait than may.
    Crowds,
    /// It does not know that it is a spare.
    Usurps,
    /// It does not see that a backend drains.
    Hopes,
    /// It gives everyone a millisecond more.
    Dawdles,
    /// It does not hear of first tokens, which shows in nothing but its view.
    Blind,
    /// It gives the same reason for everything.
    Lies,
    /// It forgets to say when it must be called.
    Sleeps,
}

/// The scheduler with a fault.
pub struct Twist {
    inner: Scheduler,
    fault: Fault,
    count: u64,
    held: Option<Event>,
}

impl Twist {
    /// A double with this fault.
    pub fn new(seed: u64, fleet: &Fleet, fault: Fault) -> Self {
        let inner = Scheduler::new(seed, Arc::new(twist_fleet(fault, fleet)));
        Twist { inner, fault, count: 0, held: None }
    }

    fn seventh(&mut self) -> bool {
        self.count += 1;
        self.count.is_multiple_of(7)
    }

    fn twist_event(&mut self, event: Event) -> Option<Event> {
        match (self.fault, event) {
            (Fault::Deaf, Event::Finish { .. }) if self.seventh() => None,
            (Fault::Blind, Event::FirstToken { .. }) => None,
            (Fault::Dawdles, Event::Arrive(arrival)) => {
                let deadline = Moment(arrival.deadline.0.saturating_add(1000));
                Some(Event::Arrive(Arrival { deadline, ..arrival }))
            }
            (fault, Event::Adopt(fleet)) => Some(Event::Adopt(Arc::new(twist_fleet(fault, &fleet)))),
            (_, event) => Some(event),
        }
    }
}

impl Core for Twist {
    fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>) {
        let held = self.held.take();
        if self.fault == Fault::Overtakes && held.is_none() && matches!(event, Event::Arrive(_)) {
            self.held = Some(event);
            return;
        }
        let mut said = Vec::new();
        for event in self.twist_event(event).into_iter().chain(held) {
            self.inner.handle(now, event, &mut said);
        }
        for decision in said {
            match (self.fault, decision) {
                (Fault::Stutters, decision) if self.seventh() => out.extend([decision.clone(), decision]),
                (Fault::Swallows, _) if self.seventh() => {}
                (Fault::Lies, Decision::Refuse { ticket, .. }) => {
                    out.push(Decision::Refuse { ticket, why: Refusal::Unhealthy });
                }
                (_, decision) => out.push(decision),
            }
        }
    }

    fn next_wake(&self) -> Option<Moment> {
        self.inner.next_wake().filter(|_| self.fault != Fault::Sleeps)
    }

    fn view(&self) -> View {
        self.inner.view()
    }
}

fn twist_fleet(fault: Fault, fleet: &Fleet) -> Fleet {
    let mut fleet = fleet.clone();
    fleet.owner |= fault == Fault::Usurps;
    fleet.queue_max += usize::from(fault == Fault::Crowds);
    for backend in fleet.backends.values_mut() {
        twist_backend(fault, backend);
    }
    fleet
}

fn twist_backend(fault: Fault, backend: &mut Backend) {
    match fault {
        Fault::MoreSlots => backend.slots += 1,
        Fault::FewerSlots if backend.slots > 1 => backend.slots -= 1,
        Fault::Hopes => backend.draining = false,
        Fault::NoGrace => backend.release_grace = sched::Span::ZERO,
        Fault::Perverse => backend.priority = -backend.priority,
        _ => {}
    }
}
