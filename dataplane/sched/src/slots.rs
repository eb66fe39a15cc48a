//! Who holds which slot: running requests, cooling slots, and backends that left with work on them.

mod adopt;
mod share;

use std::collections::{BTreeMap, BTreeSet};

use crate::explain::Story;
use crate::fair::Fair;
use crate::known::{Course, Known};
use crate::place::Place;
use crate::queue::Ticket;
use crate::room::Room;
use crate::sorted::Sorted;
use crate::{
    BREAKER_REST_MAX, BackendId, CANDIDATES_MAX, Candidate, Cause, Fault, LIMITED_REST_MIN, LONG_TOKENS,
    ModelId, Moment, Outcome, Policy, Prefix, SlotId, Span, TicketId, Usage,
};

pub(crate) struct Run {
    pub(crate) ticket: Box<Ticket>,
    backend: BackendId,
    slot: SlotId,
    pub(crate) since: Moment,
    /// Of the backend's breaker.
    era: u32,
    /// When the first content passed.
    pub(crate) first: Option<Moment>,
    pub(crate) course: Course,
}

/// An attempt that failed.
pub(crate) struct Failed {
    pub(crate) ticket: Box<Ticket>,
    pub(crate) backend: BackendId,
    /// Whether content had passed.
    pub(crate) streamed: bool,
    /// It was no try: nobody listened.
    pub(crate) unreached: bool,
}

/// All slots. Rooms are those of the fleet and those with work; runs and cooling are bounded by the slots.
pub(crate) struct Slots {
    seed: u64,
    pub(crate) rooms: Sorted<BackendId, Room>,
    runs: BTreeMap<TicketId, Run>,
    cooling: BTreeSet<(Moment, BackendId, SlotId)>,
    rests: BTreeSet<(Moment, BackendId)>,
    pub(crate) known: Known,
    pub(crate) fair: Fair,
    /// How many were started.
    started: u64,
    /// Backends that do not hold all their models at a time.
    pub(crate) swapping: Vec<BackendId>,
    /// Others wait until engines have stopped: no slot cools here.
    shared: bool,
    /// How many slots of a backend take part, where that was told; one for each backend that it was told of.
    given: BTreeMap<BackendId, u32>,
    /// Slots with requests of which nothing is known.
    strangers: BTreeMap<TicketId, (BackendId, SlotId)>,
}

impl Slots {
    pub(crate) fn new(seed: u64) -> Slots {
        Slots {
            seed,
            rooms: Sorted::default(),
            runs: BTreeMap::new(),
            cooling: BTreeSet::new(),
            rests: BTreeSet::new(),
            known: Known::default(),
            fair: Fair::default(),
            started: 0,
            swapping: Vec::new(),
            shared: false,
            given: BTreeMap::new(),
            strangers: BTreeMap::new(),
        }
    }

    /// The backend's room while it is in the fleet.
    pub(crate) fn room(&self, backend: BackendId) -> Option<&Room> {
        self.rooms.get(backend).filter(|room| room.present)
    }

    pub(crate) fn rooms(&self) -> impl Iterator<Item = (BackendId, &Room)> {
        self.rooms.iter()
    }

    pub(crate) fn free(&self, backend: BackendId) -> u32 {
        self.rooms.get(backend).map_or(0, Room::free)
    }

    pub(crate) fn runs(&self, ticket: TicketId) -> bool {
        self.runs.contains_key(&ticket) || self.strangers.contains_key(&ticket)
    }

    pub(crate) fn running(&self) -> usize {
        self.runs.len() + self.strangers.len()
    }

    /// Gives a running request other candidates, should its attempt fail.
    pub(crate) fn offer(&mut self, ticket: TicketId, candidates: Box<[Candidate]>) {
        if let Some(run) = self.runs.get_mut(&ticket) {
            run.ticket.arrival.candidates = candidates;
        }
    }

    /// Tokens that the backend of a running request reads in a second, where measured.
    pub(crate) fn prefill_tps(&self, ticket: TicketId) -> Option<u32> {
        self.known.speeds.prefill_tps(self.runs.get(&ticket)?.course.place)
    }

    /// What the server is thought to have of a running request's prompt, where that is compared.
    pub(crate) fn prefix(&self, ticket: TicketId) -> Option<Prefix> {
        let run = self.runs.get(&ticket).filter(|run| run.ticket.arrival.prompt.len() > 0)?;
        Some(Prefix { cached: run.course.thought, prompt: run.ticket.tokens() })
    }

    /// When the first cooling slot comes free or the first rest ends, by itself.
    pub(crate) fn next_change(&self) -> Option<Moment> {
        let cooled = self.cooling.first().map(|(until, _, _)| *until);
        let rested = self.rests.first().map(|(until, _)| *until);
        [cooled, rested].into_iter().flatten().min()
    }

    /// Takes a slot of a backend that has one free.
    pub(crate) fn start(
        &mut self,
        mut ticket: Box<Ticket>,
        &Place { backend, model, warm, .. }: &Place,
        now: Moment,
    ) -> SlotId {
        let room = self.rooms.get_mut(backend).expect("only a backend with a free slot is chosen");
        let slot = room.take();
        let era = room.switch.start();
        let loads = room.loads(model);
        if let Some(most) = room.backend.models_max
            && let Some(gone) = room.memory.start(slot, model, most as usize, now)
        {
            self.known.caches.unload((backend, gone));
        }
        ticket.tried.push(backend);
        let id = ticket.arrival.ticket;
        let cache = (room.backend.cache, room.lanes());
        let mut course = self.known.start(&ticket, (backend, model), cache, (loads, warm), now);
        self.fair.start(ticket.arrival.key, course.charge, weight(&ticket), now);
        for other in &room.runs {
            if let Some(other) = self.runs.get_mut(other).filter(|other| other.first.is_none()) {
                (other.course.shared, course.shared) = (true, true);
            }
        }
        room.runs.push(id);
        self.started += 1;
        room.turn = self.started;
        self.runs.insert(id, Run { ticket, backend, slot, since: now, era, first: None, course });
        slot
    }

    /// A request is about to be placed.
    pub(crate) fn look(&mut self, ticket: &Ticket) {
        let arrival = &ticket.arrival;
        if arrival.policy == Policy::LongWaits && ticket.tokens() >= LONG_TOKENS {
            for candidate in arrival.candidates.iter().take(CANDIDATES_MAX) {
                self.known.recent.touch(candidate.backend, &arrival.prompt);
            }
        }
    }

    /// A server said how many requests it has.
    pub(crate) fn told(&mut self, backend: BackendId, requests: u32, age: Span, now: Moment) {
        if let Some(room) = self.rooms.get_mut(backend) {
            room.told(requests, Moment(now.0.saturating_sub(age.0)));
        }
    }

    /// A request that runs.
    pub(crate) fn run(&self, ticket: TicketId) -> Option<&Run> {
        self.runs.get(&ticket)
    }

    /// How a running request was placed.
    pub(crate) fn take_story(&mut self, ticket: TicketId) -> Option<Box<Story>> {
        self.runs.get_mut(&ticket)?.ticket.story.take()
    }

    /// The first content passed by; the answer is the backend when that ended its trial.
    pub(crate) fn first_token(&mut self, ticket: TicketId, now: Moment) -> Option<BackendId> {
        let run = self.runs.get_mut(&ticket).filter(|run| run.first.is_none())?;
        let room = self.rooms.get_mut(run.backend).expect("a room stays while a request runs in it");
        run.first = Some(now);
        room.memory.loaded(run.course.place.1);
        room.waited(now.since(run.since).secs());
        room.streaming += 1;
        room.switch.succeed(run.era, now).then_some(run.backend)
    }

    /// Ends a request; the answer is its backend, which may have a free slot now.
    pub(crate) fn finish(
        &mut self,
        ticket: TicketId,
        outcome: Outcome,
        usage: Usage,
        now: Moment,
    ) -> Option<BackendId> {
        let Some(mut run) = self.runs.remove(&ticket) else { return self.part(ticket) };
        let backend = run.backend;
        match outcome {
            Outcome::Unsent => self.known.undo(&run.ticket, &mut run.course, now),
            _ => self.known.finish(&run.ticket, &run.course, (run.since, run.first), (outcome, usage), now),
        }
        let room = self.rooms.get_mut(backend).expect("a room stays while a request runs in it");
        match outcome {
            // the first content said so already
            Outcome::Done if run.first.is_some() => {}
            Outcome::Done => {
                room.memory.loaded(run.course.place.1);
                room.switch.succeed(run.era, now);
            }
            Outcome::Failed => room.switch.fail(run.era, Cause::Failed, now, self.seed, backend),
            Outcome::Aborted | Outcome::Unsent => room.switch.pass(run.era),
        }
        let cut = matches!(outcome, Outcome::Failed | Outcome::Aborted);
        let held = self.release(&run, cut, now.since(run.since), now).since(run.since);
        match self.rooms.get_mut(backend) {
            _ if outcome == Outcome::Unsent => self.unload(&run),
            Some(room) => room.pace.add(held),
            None => {}
        }
        self.settle(backend);
        Some(backend)
    }

    /// Ends an attempt that failed before any content.
    pub(crate) fn fail(&mut self, ticket: TicketId, fault: Fault, sent: bool, now: Moment) -> Option<Failed> {
        let mut run = self.runs.remove(&ticket)?;
        let backend = run.backend;
        match sent {
            false => self.known.undo(&run.ticket, &mut run.course, now),
            true => {
                let ended = (Outcome::Failed, Usage::default());
                self.known.finish(&run.ticket, &run.course, (run.since, run.first), ended, now);
            }
        }
        let room = self.rooms.get_mut(backend).expect("a room stays while a request runs in it");
        let cause = Cause::Fault(fault);
        if let Fault::Limited { retry_after } = fault {
            let rest = retry_after.unwrap_or(LIMITED_REST_MIN).clamp(LIMITED_REST_MIN, BREAKER_REST_MAX);
            room.switch.pass(run.era);
            room.switch.limit(cause, now + rest);
        } else if fault == Fault::Slow {
            room.switch.pass(run.era);
        } else {
            room.switch.fail(run.era, cause, now, self.seed, backend);
        }
        self.release(&run, sent, now.since(run.since), now);
        self.unload(&run);
        self.settle(backend);
        let streamed = run.first.is_some();
        let unreached = fault == Fault::Refused && !sent && !streamed;
        let mut ticket = run.ticket;
        if unreached {
            ticket.tried.pop();
            ticket.unreached.get_or_insert(now);
        }
        Some(Failed { ticket, backend, streamed, unreached })
    }

    /// Frees the slots whose grace is over and ends the rests that are; the answer is their backends.
    pub(crate) fn change(&mut self, now: Moment) -> BTreeSet<BackendId> {
        let mut freed = BTreeSet::new();
        while let Some(&(until, backend)) = self.rests.first()
            && until <= now
        {
            if let Some(room) = self.rooms.get_mut(backend) {
                room.switch.rested(now);
            }
            self.settle(backend);
            freed.insert(backend);
        }
        while let Some(&(until, backend, slot)) = self.cooling.first()
            && until <= now
        {
            self.cooling.pop_first();
            if let Some(room) = self.rooms.get_mut(backend) {
                room.cooling.remove(&slot);
                room.give(slot);
            }
            self.settle(backend);
            freed.insert(backend);
        }
        freed
    }

    /// Frees all cooling slots of a backend whose engine is known idle; the answer is whether there were any.
    pub(crate) fn idle(&mut self, backend: BackendId) -> bool {
        let Some(room) = self.rooms.get_mut(backend) else { return false };
        let cooling = std::mem::take(&mut room.cooling);
        for (slot, until) in &cooling {
            self.cooling.remove(&(*until, backend, *slot));
            room.give(*slot);
        }
        self.settle(backend);
        !cooling.is_empty()
    }

    /// Gives a slot back that a key had for so long, or lets it cool; the answer is when it is free.
    fn release(&mut self, run: &Run, cut: bool, took: Span, now: Moment) -> Moment {
        let Run { backend, slot, first, .. } = *run;
        let room = self.rooms.get_mut(backend).expect("a room stays while a request runs in it");
        room.busy -= 1;
        room.runs.retain(|id| *id != run.ticket.arrival.ticket);
        if !awaited(&self.runs, room, run.course.place.1) {
            room.memory.loaded(run.course.place.1);
        }
        let secs = (run.course.charge, took.secs());
        self.fair.end(run.ticket.arrival.key, secs, weight(&run.ticket), run.since);
        room.streaming -= u32::from(first.is_some());
        let until = if cut && !self.shared { now + room.backend.release_grace } else { now };
        if until > now {
            room.cooling.insert(slot, until);
            self.cooling.insert((until, backend, slot));
        } else {
            room.give(slot);
        }
        until
    }

    /// A request that should have loaded its model failed before any content: the server has what it last said.
    fn unload(&mut self, run: &Run) {
        let (backend, model) = run.course.place;
        let Some(room) = self.rooms.get_mut(backend).filter(|_| run.course.load > 0.0) else { return };
        if let Some(most) = room.backend.models_max.filter(|_| !awaited(&self.runs, room, model)) {
            room.memory.failed(model, &room.backend.resident, most as usize);
        }
    }

    /// Brings the end of a room's rest into the books, and forgets a room that left the fleet once its last
    /// slot is back.
    fn settle(&mut self, backend: BackendId) {
        let Some(room) = self.rooms.get_mut(backend) else { return };
        let gone = !room.present && room.empty();
        let alarm = room.switch.alarm().filter(|_| !gone);
        if alarm != room.alarm {
            if let Some(until) = room.alarm {
                self.rests.remove(&(until, backend));
            }
            if let Some(until) = alarm {
                self.rests.insert((until, backend));
            }
            room.alarm = alarm;
        }
        if gone {
            self.rooms.remove(backend);
            self.known.forget(backend);
        }
    }
}

/// Whether some request there waits for the first token of a model.
fn awaited(runs: &BTreeMap<TicketId, Run>, room: &Room, model: ModelId) -> bool {
    let waits = |run: &Run| run.course.place.1 == model && run.first.is_none();
    room.runs.iter().filter_map(|id| runs.get(id)).any(waits)
}

fn weight(ticket: &Ticket) -> f64 {
    f64::from(ticket.arrival.weight.max(1))
}
