//! The shell around the scheduling core: one short lock, a channel for those who wait, a clock for its wishes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sched::{
    Arrival, Asked, BackendId, Candidate, Chain, Class, Event, Fault, Fleet, Key, Moment, Outlook, Policy,
    Prefix, Refusal, SlotId, Span, Story, TicketId, View,
};
use tape::Recorder;
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    config::Snapshot,
    peer::Links,
    route::{Found, Lookup, Table},
};

mod ends;
mod lease;
mod lends;
mod seat;
mod sharing;
pub mod words;

pub use ends::{Role, Standing};
pub use lease::{Answer, Lease, Waiting};
pub use lends::Lends;
use seat::Seat;

/// What a started ticket was given.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// Which of the candidates.
    pub candidate: usize,
    /// Where.
    pub backend: BackendId,
    /// Which of its slots.
    pub slot: SlotId,
    /// At which it reads prompts to this model, in tokens a second, where measured.
    pub prefill_tps: Option<u32>,
    /// What it is thought to have of the prompt, where that is compared.
    pub prefix: Option<Prefix>,
}

/// What the core says to a ticket.
#[derive(Debug)]
struct Verdict {
    said: Result<Grant, Refusal>,
    /// What led to it, where anything was weighed.
    story: Option<Box<Story>>,
}

/// What is said to a ticket.
type Said = (TicketId, Verdict);

/// What one who waits is told, with what its request leads to where that changed meanwhile.
type Word = (Verdict, Option<Box<Found>>);

/// Who waits to be told.
struct Waiter {
    sender: oneshot::Sender<Word>,
    /// Where else it could go.
    lookup: Lookup,
    /// Whether that is not what it asked with.
    changed: bool,
}

impl Waiter {
    /// What the core is to offer it by another table.
    fn renew(&mut self, table: &Table) -> Option<Box<[Candidate]>> {
        self.lookup.found = self.lookup.renew(table)?;
        self.changed = true;
        Some(self.lookup.found.numbered())
    }

    /// False when its client is gone.
    fn tell(self, verdict: Verdict) -> bool {
        let found = self.changed.then(|| Box::new(self.lookup.found));
        self.sender.send((verdict, found)).is_ok()
    }
}

/// An attempt that failed before any content, and where else its request may go.
#[derive(Debug)]
pub struct Failed {
    /// How.
    pub fault: Fault,
    /// The engine may be at work on it.
    pub sent: bool,
    /// Its candidates from now on, when those that it was started with are of an older snapshot.
    pub offer: Option<Box<[Candidate]>>,
    /// What it leads to, to be looked up again in each snapshot that comes.
    pub lookup: Lookup,
}

/// A request as the core needs to know it.
#[derive(Debug)]
pub struct Wish {
    /// Who asks.
    pub key: u64,
    /// What for: the name of the model, hashed.
    pub asked: u64,
    /// Estimated.
    pub prompt_tokens: u32,
    /// The prompt in blocks.
    pub prompt: Chain,
    /// By which rule it is placed.
    pub policy: Policy,
    /// How urgent it is.
    pub class: Class,
    /// Who may serve it, best guess of nothing: the core chooses.
    pub candidates: Box<[Candidate]>,
    /// How long it may wait for a slot.
    pub patience: Duration,
}

struct Core {
    seat: Seat,
    waiting: BTreeMap<TicketId, Waiter>,
    next: u64,
    /// Of the snapshot that is served by.
    routing: u64,
    wake: Option<Moment>,
    said: Vec<Said>,
    /// The way to other data planes, where slots can be shared with them.
    links: Option<Arc<dyn Links>>,
}

/// The one scheduling core of this data plane.
pub struct Dispatch {
    core: Mutex<Core>,
    clock: Notify,
    start: Instant,
    /// How often all that ran was to end at once.
    aborts: watch::Sender<u64>,
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch").finish_non_exhaustive()
    }
}

impl Dispatch {
    /// A core with chance drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, fleet: Arc<Fleet>) -> Arc<Self> {
        Self::taped(seed, fleet, None)
    }

    /// As `new`, with a tape that was begun of the same seed and fleet.
    #[must_use]
    pub fn taped(seed: u64, fleet: Arc<Fleet>, tape: Option<Recorder>) -> Arc<Self> {
        let seat = Seat::alone(seed, fleet, tape);
        let (waiting, said) = (BTreeMap::new(), Vec::new());
        let core = Core { seat, waiting, next: 0, routing: 0, wake: None, said, links: None };
        Arc::new(Self {
            core: Mutex::new(core),
            clock: Notify::new(),
            start: Instant::now(),
            aborts: watch::Sender::new(0),
        })
    }

    /// The tape, which ends here.
    pub fn untape(&self) -> Option<Recorder> {
        self.core().seat.untape()
    }

    /// A panic inside the core would be a bug there; its state is still the best we have.
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Asks for a slot. Resolved at once when one is free or none can ever be; else what `lookup` tells is looked up
    /// again in each snapshot that comes.
    pub fn arrive(self: &Arc<Self>, wish: Wish, lookup: impl FnOnce() -> Lookup) -> Waiting {
        let patience = Span(u64::try_from(wish.patience.as_micros()).unwrap_or(u64::MAX));
        let mut core = self.core();
        let now = self.now();
        let ticket = TicketId(core.next);
        core.next += 1;
        let arrival = Arrival {
            ticket,
            key: Key(wish.key),
            asked: Asked(wish.asked),
            weight: 1,
            class: wish.class,
            prompt_tokens: wish.prompt_tokens,
            prompt: wish.prompt,
            policy: wish.policy,
            candidates: wish.candidates,
            deadline: now + patience,
        };
        self.ask(&mut core, now, Event::Arrive(arrival), ticket, lookup)
    }

    /// Tells the core what happened.
    pub fn tell(&self, event: Event) {
        let mut core = self.core();
        let now = self.now();
        self.run(&mut core, now, event, None);
    }

    /// Swaps the fleet under running work. `publish` makes known what goes with it, in the same moment: who is refused
    /// by the new fleet finds it.
    ///
    /// Who waits and could go elsewhere by its table is offered that, in the same moment and in its old place.
    pub fn adopt(&self, snapshot: &Snapshot, publish: impl FnOnce()) {
        let mut core = self.core();
        publish();
        let now = self.now();
        core.seat.name(snapshot);
        core.sit(now, snapshot);
        let mut offers = Vec::new();
        if core.routing != snapshot.routing {
            core.routing = snapshot.routing;
            let waiting = core.waiting.iter_mut();
            offers.extend(
                waiting.filter_map(|(ticket, waiter)| Some((*ticket, waiter.renew(&snapshot.table)?))),
            );
        }
        self.run(&mut core, now, Event::Reroute { fleet: snapshot.fleet.clone(), offers }, None);
        self.picture(&mut core, now, snapshot);
    }

    /// Offers one that waits what it leads to by `table`, which came before it arrived.
    pub fn renew(&self, ticket: TicketId, table: &Table) {
        let mut core = self.core();
        let Some(offer) = core.waiting.get_mut(&ticket).and_then(|waiter| waiter.renew(table)) else {
            return;
        };
        let (now, fleet) = (self.now(), core.seat.scheduler().fleet().clone());
        self.run(&mut core, now, Event::Reroute { fleet, offers: vec![(ticket, offer)] }, None);
    }

    /// What the core does now.
    pub fn view(&self) -> View {
        self.core().seat.view()
    }

    /// How `ticket` stands in the queue; none when it does not wait.
    pub fn outlook(&self, ticket: TicketId) -> Option<Outlook> {
        self.core().seat.outlook(ticket)
    }

    /// How `ticket`, which waits, was looked at so far.
    pub fn story(&self, ticket: TicketId) -> Option<Story> {
        self.core().seat.story(ticket)
    }

    /// The attempt of `ticket` failed before any content: asks for a slot elsewhere, by other candidates if there are.
    fn again(self: &Arc<Self>, ticket: TicketId, failed: Failed) -> Waiting {
        let Failed { fault, sent, offer, lookup } = failed;
        let mut core = self.core();
        let now = self.now();
        if let Some(offer) = offer {
            let fleet = core.seat.scheduler().fleet().clone();
            self.run(&mut core, now, Event::Reroute { fleet, offers: vec![(ticket, offer)] }, None);
        }
        self.ask(&mut core, now, Event::Fail { ticket, fault, sent }, ticket, || lookup)
    }

    fn ask(
        self: &Arc<Self>,
        core: &mut Core,
        now: Moment,
        event: Event,
        ticket: TicketId,
        lookup: impl FnOnce() -> Lookup,
    ) -> Waiting {
        let mut own = None;
        self.run(core, now, event, Some((ticket, &mut own)));
        let verdict = match own {
            Some(verdict) => Err(verdict),
            None => {
                let (sender, receiver) = oneshot::channel();
                core.waiting.insert(ticket, Waiter { sender, lookup: lookup(), changed: false });
                Ok(receiver)
            }
        };
        Waiting::new(self.clone(), ticket, verdict)
    }

    fn leave(&self, ticket: TicketId) {
        let mut core = self.core();
        core.waiting.remove(&ticket);
        let now = self.now();
        self.run(&mut core, now, Event::Cancel { ticket }, None);
    }

    fn run(&self, core: &mut Core, now: Moment, event: Event, own: Option<(TicketId, &mut Option<Verdict>)>) {
        let mut said = std::mem::take(&mut core.said);
        core.seat.handle(now, event, &mut said);
        self.pass_on(core, now, said, own);
    }

    /// Tells those who wait what was said.
    fn pass_on(
        &self,
        core: &mut Core,
        now: Moment,
        mut said: Vec<Said>,
        mut own: Option<(TicketId, &mut Option<Verdict>)>,
    ) {
        // A ticket whose client left between decision and delivery gives its slot back, which may start another.
        let mut more = Vec::new();
        loop {
            for (ticket, verdict) in said.drain(..) {
                if let Some((mine, slot)) = own.as_mut()
                    && *mine == ticket
                {
                    **slot = Some(verdict);
                    continue;
                }
                let delivered = core.waiting.remove(&ticket).is_some_and(|waiter| waiter.tell(verdict));
                if !delivered {
                    core.seat.handle(now, Event::Cancel { ticket }, &mut more);
                }
            }
            if more.is_empty() {
                break;
            }
            std::mem::swap(&mut said, &mut more);
        }
        core.said = said;
        if let Seat::Shared(sharing) = &mut core.seat
            && std::mem::take(&mut sharing.aborts)
        {
            self.aborts.send_modify(|times| *times += 1);
        }
        let wake = core.seat.next_wake();
        if wake != core.wake {
            core.wake = wake;
            self.clock.notify_one();
        }
    }

    /// Wakes the core when it wishes. Runs until dropped.
    pub async fn tick(&self) {
        loop {
            let wake = self.core().wake;
            let changed = self.clock.notified();
            match wake {
                None => changed.await,
                Some(moment) => {
                    let at = self.start + Duration::from_micros(moment.0);
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at.into()) => self.tell(Event::Wake),
                    }
                }
            }
        }
    }
}
