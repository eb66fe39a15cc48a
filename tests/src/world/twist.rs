//! Flawy doubles of the core: the scheduler with one flaw each, to show that the laws bite.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::{
    Arrival, Backend, BreakerState, Decision, Event, Fleet, Key, Moment, Outcome, Refusal, Scheduler, Span,
    TicketId, Usage, View,
};

use super::Core;

/// What is wrong with a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
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
    /// It forgets that an attempt failed and takes the request as new.
    Insists,
    /// It takes the first request on a backend for answered as soon as it started.
    Hasty,
    /// It says that rests are longer than they are.
    Boasts,
    /// It does not hear that it is to close.
    Lingers,
    /// It does not hear that who waits may go elsewhere.
    Forgets,
    /// It waits for warm servers, and keeps slots, for as long as that may pay.
    Patient,
    /// It believes that servers hold all models at once.
    Reloads,
    /// It waits for warm servers for as long as it ever may, whatever that saves.
    Stubborn,
    /// It waits for warm servers for half of what that saves, however long.
    Endless,
    /// It takes all keys for one.
    Levels,
    /// It keeps nothing in reserve.
    Squanders,
}

/// The scheduler with a flaw.
pub struct Twist {
    inner: Scheduler,
    flaw: Flaw,
    count: u64,
    held: Option<Event>,
    arrivals: BTreeMap<TicketId, Arrival>,
}

impl Twist {
    /// A double with this flaw.
    pub fn new(seed: u64, fleet: &Fleet, flaw: Flaw) -> Self {
        let inner = Scheduler::new(seed, Arc::new(twist_fleet(flaw, fleet)));
        Twist { inner, flaw, count: 0, held: None, arrivals: BTreeMap::new() }
    }

    fn seventh(&mut self) -> bool {
        self.count += 1;
        self.count.is_multiple_of(7)
    }

    fn twist_event(&mut self, event: Event) -> Vec<Event> {
        if let Event::Arrive(arrival) = &event {
            self.arrivals.insert(arrival.ticket, arrival.clone());
        }
        match (self.flaw, event) {
            (Flaw::Deaf, Event::Finish { .. }) if self.seventh() => Vec::new(),
            (Flaw::Blind, Event::FirstToken { .. }) | (Flaw::Lingers, Event::Close) => Vec::new(),
            (Flaw::Dawdles, Event::Arrive(arrival)) => {
                let deadline = Moment(arrival.deadline.0.saturating_add(1000));
                vec![Event::Arrive(Arrival { deadline, ..arrival })]
            }
            (Flaw::Levels, Event::Arrive(arrival)) => {
                vec![Event::Arrive(Arrival { key: Key(0), ..arrival })]
            }
            (Flaw::Squanders, Event::Arrive(mut arrival)) => {
                arrival.candidates.iter_mut().for_each(|candidate| candidate.reserve = 0);
                vec![Event::Arrive(arrival)]
            }
            (Flaw::Insists, Event::Fail { ticket, sent, .. }) => {
                let outcome = if sent { Outcome::Aborted } else { Outcome::Unsent };
                let end = Event::Finish { ticket, outcome, usage: Usage::default() };
                let again = self.arrivals.get(&ticket).cloned().map(Event::Arrive);
                [end].into_iter().chain(again).collect()
            }
            (Flaw::Forgets, Event::Reroute { fleet, .. }) => vec![Event::Adopt(fleet)],
            (flaw, Event::Reroute { fleet, offers }) => {
                vec![Event::Reroute { fleet: Arc::new(twist_fleet(flaw, &fleet)), offers }]
            }
            (flaw, Event::Adopt(fleet)) => vec![Event::Adopt(Arc::new(twist_fleet(flaw, &fleet)))],
            (_, event) => vec![event],
        }
    }

    /// Tells of first tokens that nobody saw.
    fn hasten(&mut self, now: Moment, said: &mut Vec<Decision>) {
        let mut next = 0;
        while let Some(decision) = said.get(next) {
            next += 1;
            if let Decision::Start { ticket, .. } = *decision {
                self.inner.handle(now, Event::FirstToken { ticket }, said);
            }
        }
    }
}

impl Core for Twist {
    fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>) {
        let held = self.held.take();
        if self.flaw == Flaw::Overtakes && held.is_none() && matches!(event, Event::Arrive(_)) {
            self.held = Some(event);
            return;
        }
        let mut said = Vec::new();
        for event in self.twist_event(event).into_iter().chain(held) {
            self.inner.handle(now, event, &mut said);
        }
        if self.flaw == Flaw::Hasty {
            self.hasten(now, &mut said);
        }
        for decision in said {
            match (self.flaw, decision) {
                (Flaw::Stutters, decision) if self.seventh() => out.extend([decision.clone(), decision]),
                (Flaw::Swallows, _) if self.seventh() => {}
                (Flaw::Lies, Decision::Refuse { ticket, .. }) => {
                    out.push(Decision::Refuse { ticket, why: Refusal::Unhealthy });
                }
                (_, decision) => out.push(decision),
            }
        }
    }

    fn next_wake(&self) -> Option<Moment> {
        self.inner.next_wake().filter(|_| self.flaw != Flaw::Sleeps)
    }

    fn view(&self) -> View {
        let mut view = self.inner.view();
        let open = view.backends.values_mut().filter(|seen| seen.breaker.state == BreakerState::Open);
        if self.flaw == Flaw::Boasts {
            open.for_each(|seen| seen.breaker.rest = seen.breaker.rest + Span::from_secs(30));
        }
        view
    }
}

fn twist_fleet(flaw: Flaw, fleet: &Fleet) -> Fleet {
    let mut fleet = fleet.clone();
    fleet.owner |= flaw == Flaw::Usurps;
    fleet.queue_max += usize::from(flaw == Flaw::Crowds);
    if flaw == Flaw::Patient {
        fleet.tuning.age_max = Span::from_secs(3600);
        fleet.tuning.wait_max = Span::from_secs(3600);
        fleet.tuning.wait_budget = 1000.0;
    }
    match flaw {
        Flaw::Stubborn => fleet.tuning.wait_budget = 1000.0,
        Flaw::Endless => fleet.tuning.wait_max = Span::from_secs(3600),
        _ => {}
    }
    for backend in fleet.backends.values_mut() {
        twist_backend(flaw, backend);
    }
    fleet
}

fn twist_backend(flaw: Flaw, backend: &mut Backend) {
    match flaw {
        Flaw::MoreSlots => backend.slots += 1,
        Flaw::FewerSlots if backend.slots > 1 => backend.slots -= 1,
        Flaw::Hopes => backend.draining = false,
        Flaw::NoGrace => backend.release_grace = Span::ZERO,
        Flaw::Perverse => backend.priority = -backend.priority,
        Flaw::Reloads => backend.models_max = None,
        _ => {}
    }
}
