//! Who decides what runs: the scheduling core of this data plane, which has all slots, or the lead of several.

use std::sync::Arc;

use sched::{Decision, Event, Fleet, Moment, Outlook, Scheduler, Story, TicketId, View};
use tape::Recorder;

use super::{Grant, Said, Verdict, sharing::Sharing};
use crate::config::Snapshot;

/// The core of a data plane that has all slots itself.
pub(super) struct Alone {
    pub(super) scheduler: Box<Scheduler>,
    tape: Option<Recorder>,
    out: Vec<Decision>,
}

/// Who decides.
pub(super) enum Seat {
    /// This data plane has all slots.
    Alone(Alone),
    /// Slots are shared with others. Taken out only while it changes.
    Shared(Box<Sharing>),
}

impl Alone {
    /// The tape, which ends here.
    pub(super) fn untape(&mut self) -> Option<Recorder> {
        self.tape.take()
    }

    /// Tells the core, and the tape what the core was told and said.
    fn handle(&mut self, now: Moment, event: Event, said: &mut Vec<Said>) {
        match &mut self.tape {
            None => self.scheduler.handle(now, event, &mut self.out),
            Some(tape) => {
                self.scheduler.handle(now, event.clone(), &mut self.out);
                if !tape.step(now, event, &self.out) {
                    tracing::warn!(
                        "the tape ends here: it is full, or cannot be written, or not as fast as things happen"
                    );
                    self.tape = None;
                }
            }
        }
        for decision in self.out.drain(..) {
            said.push(split(&decision, &mut self.scheduler));
        }
    }
}

impl Seat {
    /// A core with chance drawn from `seed`, and a tape that was begun of the same seed and fleet.
    pub(super) fn alone(seed: u64, fleet: Arc<Fleet>, tape: Option<Recorder>) -> Self {
        let mut scheduler = Box::new(Scheduler::new(seed, fleet));
        scheduler.explain(true);
        Self::Alone(Alone { scheduler, tape, out: Vec::new() })
    }

    /// Tells of an event; what is said to tickets is appended.
    pub(super) fn handle(&mut self, now: Moment, event: Event, said: &mut Vec<Said>) {
        match self {
            Self::Alone(alone) => alone.handle(now, event, said),
            Self::Shared(sharing) => sharing.handle(now, event, said),
        }
    }

    /// When it wants to be told that time has passed if nothing happens before.
    pub(super) fn next_wake(&self) -> Option<Moment> {
        match self {
            Self::Alone(alone) => alone.scheduler.next_wake(),
            Self::Shared(sharing) => sharing.next_wake(),
        }
    }

    /// What is known of servers and prompts.
    pub(super) fn scheduler(&self) -> &Scheduler {
        match self {
            Self::Alone(alone) => &alone.scheduler,
            Self::Shared(sharing) => sharing.part().scheduler(),
        }
    }

    /// The tape, which ends here.
    pub(super) fn untape(&mut self) -> Option<Recorder> {
        match self {
            Self::Alone(alone) => alone.untape(),
            Self::Shared(_) => None,
        }
    }

    /// Tells the tape what backends are called.
    pub(super) fn name(&mut self, snapshot: &Snapshot) {
        if let Self::Alone(Alone { tape: Some(tape), .. }) = self {
            tape.name(snapshot.names());
        }
    }

    /// What runs and waits here.
    pub(super) fn view(&self) -> View {
        let mut view = self.scheduler().view();
        let Self::Shared(sharing) = self else { return view };
        view.waiting = sharing.owner.waiting();
        view.running = sharing.requests.len() - view.waiting.min(sharing.requests.len());
        view.closing = sharing.closing;
        for (backend, row) in &mut view.backends {
            (row.busy, row.cooling) = sharing.here(*backend);
            row.streaming = row.streaming.min(row.busy);
            if row.present {
                row.slots = sharing.limits.get(backend).copied().unwrap_or_default();
            }
        }
        view
    }

    /// How one stands that waits here, as far as this data plane knows.
    pub(super) fn outlook(&self, ticket: TicketId) -> Option<Outlook> {
        match self {
            Self::Alone(alone) => alone.scheduler.outlook(ticket),
            Self::Shared(sharing) => self.scheduler().outlook(sharing.number(ticket)),
        }
    }

    /// How one that waits was looked at so far, as far as this data plane knows.
    pub(super) fn story(&self, ticket: TicketId) -> Option<Story> {
        match self {
            Self::Alone(alone) => alone.scheduler.story(ticket).cloned(),
            Self::Shared(sharing) => self.scheduler().story(sharing.number(ticket)).cloned(),
        }
    }
}

fn split(decision: &Decision, scheduler: &mut Scheduler) -> Said {
    let (ticket, said) = match decision {
        Decision::Start { ticket, candidate, backend, slot } => {
            let (candidate, prefill_tps) = (usize::from(*candidate), scheduler.prefill_tps(*ticket));
            let prefix = scheduler.prefix(*ticket);
            (*ticket, Ok(Grant { candidate, backend: *backend, slot: *slot, prefill_tps, prefix }))
        }
        Decision::Refuse { ticket, why } => (*ticket, Err(*why)),
    };
    (ticket, Verdict { said, story: scheduler.take_story(ticket) })
}
