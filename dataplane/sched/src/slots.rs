//! Who holds which slot: running requests, cooling slots, and backends that left with work on them.

use std::collections::{BTreeMap, BTreeSet};

use crate::breaker::Switch;
use crate::choose::named;
use crate::estimate::Estimate;
use crate::pace::Pace;
use crate::queue::Ticket;
use crate::{
    BREAKER_REST_MAX, Backend, BackendId, Candidate, Cause, Fault, Fleet, Health, LIMITED_REST_MIN, ModelId,
    Moment, Outcome, SLOTS_MAX, SlotId, TicketId, Usage,
};

/// One backend's slots. It outlives the backend's place in the fleet until the last slot is back.
pub(crate) struct Room {
    pub(crate) backend: Backend,
    pub(crate) present: bool,
    pub(crate) busy: u32,
    pub(crate) streaming: u32,
    pub(crate) switch: Switch,
    pub(crate) pace: Pace,
    /// The last that was known of its health is that it is down.
    down: bool,
    /// Where it stands in `Slots::rests`.
    alarm: Option<Moment>,
    cooling: BTreeMap<SlotId, Moment>,
    /// Slots that were given back, at most `SLOTS_MAX`.
    back: BTreeSet<SlotId>,
    /// The first slot that was never taken; all from here on are free.
    fresh: u32,
}

impl Room {
    fn new(backend: Backend) -> Room {
        Room {
            backend,
            present: false,
            busy: 0,
            streaming: 0,
            switch: Switch::new(),
            pace: Pace::default(),
            down: false,
            alarm: None,
            cooling: BTreeMap::new(),
            back: BTreeSet::new(),
            fresh: 0,
        }
    }

    pub(crate) fn slots(&self) -> u32 {
        self.backend.slots.min(SLOTS_MAX)
    }

    pub(crate) fn cooling(&self) -> u32 {
        self.cooling.len() as u32
    }

    pub(crate) fn empty(&self) -> bool {
        self.busy == 0 && self.cooling.is_empty()
    }

    /// How many requests may start on it now.
    pub(crate) fn free(&self) -> u32 {
        match self.present && self.backend.up() {
            true => self.switch.admits(self.vacant()),
            false => 0,
        }
    }

    /// How many slots nobody holds.
    pub(crate) fn vacant(&self) -> u32 {
        self.slots().saturating_sub(self.busy + self.cooling())
    }

    /// Takes in what probes say now, which may be what they said before.
    fn hear(&mut self, health: Health) {
        match health {
            Health::Healthy if self.down => self.switch.vouch(),
            Health::Unknown if self.backend.health == Health::Unhealthy => self.switch.doubt(),
            Health::Healthy | Health::Unhealthy | Health::Unknown => {}
        }
        self.down = match health {
            Health::Healthy => false,
            Health::Unhealthy => true,
            Health::Unknown => self.down,
        };
    }

    /// The lowest free slot: with one free below the limit, it lies below the limit too.
    fn take(&mut self) -> SlotId {
        self.busy += 1;
        self.back.pop_first().unwrap_or_else(|| {
            self.fresh += 1;
            SlotId(self.fresh - 1)
        })
    }

    fn give(&mut self, slot: SlotId) {
        self.back.insert(slot);
    }
}

struct Run {
    ticket: Box<Ticket>,
    backend: BackendId,
    slot: SlotId,
    since: Moment,
    /// Of the backend's breaker.
    era: u32,
    /// When the first content passed.
    first: Option<Moment>,
}

impl Run {
    fn place(&self) -> Option<(BackendId, ModelId)> {
        let arrival = &self.ticket.arrival;
        let (candidate, _) = named(arrival, self.backend)?;
        Some((self.backend, arrival.candidates[usize::from(candidate)].model))
    }
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
    rooms: BTreeMap<BackendId, Room>,
    runs: BTreeMap<TicketId, Run>,
    cooling: BTreeSet<(Moment, BackendId, SlotId)>,
    rests: BTreeSet<(Moment, BackendId)>,
    estimate: Estimate,
}

/// What an adopted fleet asks of those who wait.
#[derive(Default)]
pub(crate) struct Change {
    /// Backends came or went, or a limit of input moved: who may run where is to be found anew.
    pub(crate) eligibility: bool,
    /// A backend began to drain.
    pub(crate) draining: bool,
}

impl Slots {
    pub(crate) fn new(seed: u64) -> Slots {
        Slots {
            seed,
            rooms: BTreeMap::new(),
            runs: BTreeMap::new(),
            cooling: BTreeSet::new(),
            rests: BTreeSet::new(),
            estimate: Estimate::default(),
        }
    }

    /// The backend's room while it is in the fleet.
    pub(crate) fn room(&self, backend: BackendId) -> Option<&Room> {
        self.rooms.get(&backend).filter(|room| room.present)
    }

    pub(crate) fn rooms(&self) -> impl Iterator<Item = (BackendId, &Room)> {
        self.rooms.iter().map(|(id, room)| (*id, room))
    }

    pub(crate) fn free(&self, backend: BackendId) -> u32 {
        self.rooms.get(&backend).map_or(0, Room::free)
    }

    pub(crate) fn runs(&self, ticket: TicketId) -> bool {
        self.runs.contains_key(&ticket)
    }

    pub(crate) fn running(&self) -> usize {
        self.runs.len()
    }

    /// Gives a running request other candidates, should its attempt fail.
    pub(crate) fn offer(&mut self, ticket: TicketId, candidates: Box<[Candidate]>) {
        if let Some(run) = self.runs.get_mut(&ticket) {
            run.ticket.arrival.candidates = candidates;
        }
    }

    /// Tokens that the backend of a running request reads in a second, where measured.
    pub(crate) fn prefill_tps(&self, ticket: TicketId) -> Option<u32> {
        self.estimate.prefill_tps(self.runs.get(&ticket)?.place()?)
    }

    /// When the first cooling slot comes free or the first rest ends, by itself.
    pub(crate) fn next_change(&self) -> Option<Moment> {
        let cooled = self.cooling.first().map(|(until, _, _)| *until);
        let rested = self.rests.first().map(|(until, _)| *until);
        [cooled, rested].into_iter().flatten().min()
    }

    /// Takes a slot of a backend that has one free.
    pub(crate) fn start(&mut self, mut ticket: Box<Ticket>, backend: BackendId, now: Moment) -> SlotId {
        let room = self.rooms.get_mut(&backend).expect("only a backend with a free slot is chosen");
        let slot = room.take();
        let era = room.switch.start();
        ticket.tried.push(backend);
        let id = ticket.arrival.ticket;
        self.runs.insert(id, Run { ticket, backend, slot, since: now, era, first: None });
        slot
    }

    /// The first content passed by; the answer is the backend when that ended its trial.
    pub(crate) fn first_token(&mut self, ticket: TicketId, now: Moment) -> Option<BackendId> {
        let run = self.runs.get_mut(&ticket).filter(|run| run.first.is_none())?;
        let room = self.rooms.get_mut(&run.backend).expect("a room stays while a request runs in it");
        run.first = Some(now);
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
        let run = self.runs.remove(&ticket)?;
        let backend = run.backend;
        if outcome == Outcome::Done
            && let (Some(first), Some(place)) = (run.first, run.place())
        {
            let tokens = usage.prompt.unwrap_or(run.ticket.arrival.prompt_tokens);
            self.estimate.prefilled(place, tokens, usage.cached, first.since(run.since));
        }
        let room = self.rooms.get_mut(&backend).expect("a room stays while a request runs in it");
        match outcome {
            // the first content said so already
            Outcome::Done if run.first.is_some() => {}
            Outcome::Done => drop(room.switch.succeed(run.era, now)),
            Outcome::Failed => room.switch.fail(run.era, Cause::Failed, now, self.seed, backend),
            Outcome::Aborted | Outcome::Unsent => room.switch.pass(run.era),
        }
        let cut = matches!(outcome, Outcome::Failed | Outcome::Aborted);
        let held = self.release(&run, cut, now).since(run.since);
        if outcome != Outcome::Unsent
            && let Some(room) = self.rooms.get_mut(&backend)
        {
            room.pace.add(held);
        }
        self.settle(backend);
        Some(backend)
    }

    /// Ends an attempt that failed before any content.
    pub(crate) fn fail(&mut self, ticket: TicketId, fault: Fault, sent: bool, now: Moment) -> Option<Failed> {
        let run = self.runs.remove(&ticket)?;
        let backend = run.backend;
        let room = self.rooms.get_mut(&backend).expect("a room stays while a request runs in it");
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
        self.release(&run, sent, now);
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
            if let Some(room) = self.rooms.get_mut(&backend) {
                room.switch.rested(now);
            }
            self.settle(backend);
            freed.insert(backend);
        }
        while let Some(&(until, backend, slot)) = self.cooling.first()
            && until <= now
        {
            self.cooling.pop_first();
            if let Some(room) = self.rooms.get_mut(&backend) {
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
        let Some(room) = self.rooms.get_mut(&backend) else { return false };
        let cooling = std::mem::take(&mut room.cooling);
        for (slot, until) in &cooling {
            self.cooling.remove(&(*until, backend, *slot));
            room.give(*slot);
        }
        self.settle(backend);
        !cooling.is_empty()
    }

    pub(crate) fn adopt(&mut self, fleet: &Fleet) -> Change {
        let mut change = Change::default();
        for (id, room) in &mut self.rooms {
            let stays = fleet.backends.contains_key(id);
            change.eligibility |= room.present && !stays;
            room.present &= stays;
        }
        for (id, backend) in &fleet.backends {
            let room = self.rooms.entry(*id).or_insert_with(|| Room::new(backend.clone()));
            change.eligibility |= !room.present;
            change.eligibility |= room.backend.max_input_tokens != backend.max_input_tokens;
            change.draining |= backend.draining && !room.backend.draining;
            room.hear(backend.health);
            room.present = true;
            room.backend.clone_from(backend);
        }
        for backend in self.rooms.keys().copied().collect::<Vec<_>>() {
            self.settle(backend);
        }
        change
    }

    /// Gives a slot back or lets it cool; the answer is when it is free.
    fn release(&mut self, run: &Run, cut: bool, now: Moment) -> Moment {
        let Run { backend, slot, first, .. } = *run;
        let room = self.rooms.get_mut(&backend).expect("a room stays while a request runs in it");
        room.busy -= 1;
        room.streaming -= u32::from(first.is_some());
        let until = if cut { now + room.backend.release_grace } else { now };
        if until > now {
            room.cooling.insert(slot, until);
            self.cooling.insert((until, backend, slot));
        } else {
            room.give(slot);
        }
        until
    }

    /// Brings the end of a room's rest into the books, and forgets a room that left the fleet once its last
    /// slot is back.
    fn settle(&mut self, backend: BackendId) {
        let Some(room) = self.rooms.get_mut(&backend) else { return };
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
            self.rooms.remove(&backend);
            self.estimate.forget(backend);
        }
    }
}
