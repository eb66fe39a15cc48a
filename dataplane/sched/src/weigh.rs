//! What a start costs, in seconds: the wait for the slot, the load of the model, the prefill of what is not cached, and
//! what all that costs others.

mod freed;
mod unload;

use std::cmp::Ordering;

use crate::affinity::{Lost, Mirror, Warm};
use crate::choose::{fits, reserve};
use crate::explain::{Bar, Notes, Seat, Terms};
use crate::queue::Ticket;
use crate::returns::End;
use crate::room::Room;
use crate::slots::Slots;
use crate::timeline::{Timeline, Turn};
use crate::{BackendId, CANDIDATES_MAX, Candidate, ModelId, Moment, SERVICE_GUESS, Span, Tuning};

/// What slowing down one answer by a second of prefill costs it, in seconds.
const DECODE_SLOWED: f64 = 0.6;
/// A start on a full server costs that much more than on an empty one, in seconds, so that equals share.
const LOAD_COST: f64 = 0.05;
/// Nobody waits to save fewer seconds.
const WAIT_WORTH: f64 = 0.02;
/// Sums of seconds are off by less.
const ROUNDED: f64 = 1e-6;
/// A slot is kept for no fewer tokens.
const HOLD_TOKENS_MIN: u32 = 512;

/// A free slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) candidate: u16,
    pub(crate) backend: BackendId,
    pub(crate) model: ModelId,
    /// Seconds, all told.
    pub(crate) cost: f64,
    /// What the backend's priority takes off when free slots are compared.
    pub(crate) favour: f64,
    pub(crate) priority: i32,
    /// The share of slots that are taken.
    pub(crate) load: f64,
    /// What is there of the prompt.
    pub(crate) warm: Option<Warm>,
}

/// A busy slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Later {
    pub(crate) backend: BackendId,
    /// Its place among the busy slots of the backend.
    pub(crate) turn: usize,
    pub(crate) cost: f64,
    pub(crate) favour: f64,
    /// Seconds until it is free.
    pub(crate) wait: f64,
    /// Seconds that the request would hold it.
    pub(crate) service: f64,
}

/// What there is for a request.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) now: Option<Now>,
    pub(crate) later: Option<Later>,
    /// A free slot was kept for another.
    pub(crate) held: bool,
}

/// Weighs requests at one moment.
pub(crate) struct Weigher<'a> {
    pub(crate) slots: &'a Slots,
    pub(crate) tuning: &'a Tuning,
    pub(crate) now: Moment,
    /// How often a slot was weighed for a request.
    pub(crate) evaluations: &'a mut u64,
    pub(crate) lost: &'a mut Vec<Lost>,
    pub(crate) notes: &'a mut Notes,
}

impl Weigher<'_> {
    /// The best free slot and the best busy one. Who must not wait, or has waited long, takes what is free.
    pub(crate) fn options(&mut self, ticket: &Ticket, must: bool, timeline: &mut Timeline) -> Options {
        let slots = self.slots;
        let old = must || self.now.since(ticket.since) >= self.tuning.age_max;
        let mut options = Options::default();
        let mut usable = Vec::with_capacity(ticket.arrival.candidates.len().min(CANDIDATES_MAX));
        usable.extend(candidates(ticket, slots));
        let busy = usable.iter().any(|(_, _, room)| !room.empty());
        for (index, candidate, room) in &usable {
            let place = (candidate.backend, candidate.model);
            if room.takes(candidate.model, ticket.arrival.policy)
                && !slots.loads_elsewhere(place, room, ticket)
            {
                // where nobody runs nobody is waited for: what is worse before all is counted need not be counted
                let most = options.now.filter(|_| !busy && !self.notes.on);
                match self.now(ticket, (*index, old), place, room, most) {
                    Some(now) if options.now.is_none_or(|best| better(&now, &best, (ticket, self.slots))) => {
                        options.now = Some(now);
                    }
                    Some(_) => {}
                    None => {
                        options.held = true;
                        self.notes.add(*index, place, Seat::None(Bar::Kept));
                    }
                }
            }
        }
        let soon = options.now.is_some_and(|now| now.cost <= WAIT_WORTH);
        let loads = |now: Now| slots.room(now.backend).is_some_and(|room| room.loads(now.model));
        let short = options.now.is_some_and(|now| !loads(now)) && ticket.arrival.prompt.len() == 0;
        if old || soon || short || !busy {
            return options;
        }
        for (index, candidate, room) in usable.iter().filter(|(_, _, room)| !room.empty()) {
            let place = (candidate.backend, candidate.model);
            let best = options.later.map_or(f64::INFINITY, |best| best.cost - best.favour);
            // who is told why wants to know of the others too
            let most = if self.notes.on { f64::INFINITY } else { best };
            let later = self.later(ticket, (*index, most), place, room, timeline);
            options.later = later.filter(|later| later.cost - later.favour < best).or(options.later);
        }
        options
    }

    /// What it costs to start in a free slot; `None` when the slot is kept for a conversation that will be back.
    fn now(
        &mut self,
        ticket: &Ticket,
        (candidate, old): (u16, bool),
        place: (BackendId, ModelId),
        room: &Room,
        most: Option<Now>,
    ) -> Option<Now> {
        *self.evaluations += 1;
        let known = &self.slots.known;
        let loads = room.loads(place.1);
        let load = if loads { known.speeds.load(place) } else { 0.0 };
        let mirror = known.caches.mirror(place).filter(|_| !loads);
        let warm = mirror.and_then(|mirror| mirror.peek(&ticket.arrival.prompt, ticket.tokens()));
        let rate = known.speeds.prefill(place);
        let cached = warm.map_or(0, |warm| warm.cached).min(ticket.tokens().saturating_sub(1));
        let uncached = ticket.tokens() - cached;
        let prefill = f64::from(uncached) / rate;
        let (share, decoding) = self.contention(room, prefill);
        let interference = self.tuning.interference_weight * (share + DECODE_SLOWED * decoding * prefill);
        let taken = f64::from(room.busy) / f64::from(room.slots().max(1));
        let (balance, priority) = (LOAD_COST * taken, room.backend.priority);
        let favour = self.tuning.priority_step * f64::from(priority);
        let mut terms = Terms {
            wait: self.crowd(room),
            load,
            prefill,
            share,
            eviction: 0.0,
            interference,
            balance,
            favour,
            cached,
            uncached,
            rate,
        };
        let so_far = terms.cost();
        let lost =
            most.is_some_and(|best| so_far - favour > (best.cost - best.favour) + near(so_far, best.cost));
        terms.eviction = match (mirror, warm) {
            _ if old || lost => 0.0,
            _ if loads => self.unloads(place, room)?,
            (Some(mirror), Some(warm)) => self.eviction(ticket, mirror, warm, rate)?,
            _ => 0.0,
        };
        self.notes.add(candidate, place, Seat::Free(terms));
        let cost = terms.cost();
        Some(Now { candidate, backend: place.0, model: place.1, cost, favour, priority, load: taken, warm })
    }

    /// Seconds that it would wait at the server itself, which has requests of others: it starts as many as it has slots.
    fn crowd(&self, room: &Room) -> f64 {
        let others = room.others(self.now);
        if others == 0 {
            return 0.0;
        }
        let over = (room.busy + room.cooling() + others + 1).saturating_sub(room.slots()).min(others);
        let mean = room.pace.mean().unwrap_or(SERVICE_GUESS).secs();
        f64::from(over) * mean / f64::from(room.slots().max(1))
    }

    /// Seconds by which the prefills that run there make this one longer, and how many answers it would slow down.
    fn contention(&self, room: &Room, alone: f64) -> (f64, f64) {
        let (mut share, mut decoding) = (0.0, 0.0);
        for run in room.runs.iter().filter_map(|ticket| self.slots.run(*ticket)) {
            if run.first.is_some() {
                decoding += 1.0;
            } else {
                let left = run.course.prefill - self.now.since(run.since).secs();
                share += left.max(0.1 * run.course.prefill).min(alone);
            }
        }
        (share, decoding)
    }

    /// What starting there makes others read again, weighted with the chance that they come back; `None` when one will
    /// be back so soon that the slot is kept for it.
    fn eviction(&mut self, ticket: &Ticket, mirror: &Mirror, warm: Warm, rate: f64) -> Option<f64> {
        self.lost.clear();
        let prompt = &ticket.arrival.prompt;
        let (mut end, mut keeps) = (End::Unknown, false);
        match mirror {
            Mirror::Pool(pool) => {
                let answer = self.slots.known.answers.expected(ticket.like()) as u32;
                pool.displaced(prompt, warm.cached, answer, self.now, self.lost);
            }
            Mirror::Lanes(lanes) => {
                let lane = &lanes.lanes()[warm.lane];
                let idle = self.now.since(lane.last);
                lanes.displaced(&lane.held, idle, (warm.here, warm.saved), self.now, self.lost);
                keeps = self.now.since(lane.tenure) < self.tuning.hold_tenure;
                if !lanes.keeps_evicted() {
                    end = lane.end;
                }
            }
        }
        let returns = &self.slots.known.returns;
        let kept =
            self.lost.iter().filter(|lost| lost.tokens > HOLD_TOKENS_MIN && lost.age < self.tuning.hold_max);
        let wanted = |lost: &Lost| returns.hazard(lost.age.secs(), end) * f64::from(lost.tokens) / rate;
        if keeps && self.tuning.hold > 0.0 && self.tuning.hold * kept.map(wanted).sum::<f64>() > 1.0 {
            return None;
        }
        Some(self.again(end, rate))
    }

    /// Seconds that what is lost costs when it is read again.
    fn again(&self, end: End, rate: f64) -> f64 {
        let horizon = self.tuning.return_horizon.secs();
        let returns = &self.slots.known.returns;
        // most is lost of few sequences, each of which was used at one time
        let mut last = None;
        let one = |lost: &Lost| {
            let known = last.filter(|(age, _)| *age == lost.age);
            let (_, back) =
                known.unwrap_or_else(|| (lost.age, returns.within(lost.age.secs(), horizon, end)));
            last = Some((lost.age, back));
            f64::from(lost.tokens) / rate * back
        };
        self.tuning.eviction_weight * self.lost.iter().map(one).sum::<f64>()
    }

    /// Finds what a server forgets when a request starts in a slot that comes free, of whose prompt it has so much in that
    /// slot and in all.
    fn forgets(
        &mut self,
        ticket: &Ticket,
        mirror: Option<&Mirror>,
        turn: &Turn,
        (here, cached): (u32, u32),
        answer: f64,
    ) {
        self.lost.clear();
        match (mirror, &turn.held) {
            _ if self.tuning.eviction_weight == 0.0 => {}
            (Some(Mirror::Pool(pool)), _) => {
                pool.displaced(&ticket.arrival.prompt, cached, answer as u32, self.now, self.lost);
            }
            (Some(Mirror::Lanes(lanes)), Some(held)) => {
                lanes.displaced(held, Span::ZERO, (here, 0), self.now, self.lost);
            }
            _ => {}
        }
    }

    /// What it costs to wait for the best busy slot of a backend. Where the wait alone costs no less than `most`, the
    /// backend's favour taken off, nothing is compared.
    fn later(
        &mut self,
        ticket: &Ticket,
        (candidate, most): (u16, f64),
        place: (BackendId, ModelId),
        room: &Room,
        timeline: &mut Timeline,
    ) -> Option<Later> {
        let slots = self.slots;
        let known = &slots.known;
        let favour = self.tuning.priority_step * f64::from(room.backend.priority);
        let most = most + favour + ROUNDED;
        let turns = timeline.of(place.0, room, slots, self.now);
        let soonest = turns.iter().map(|turn| turn.at).fold(f64::INFINITY, f64::min);
        if soonest >= most {
            return None;
        }
        let loads = room.loads(place.1);
        let load = if loads { known.speeds.load(place) } else { 0.0 };
        let prompt = &ticket.arrival.prompt;
        let mirror = known.caches.mirror(place).filter(|_| !loads);
        let rate = known.speeds.prefill(place);
        let answer = known.answers.expected(ticket.like());
        let idle = |mirror: &Mirror| mirror.peek(prompt, ticket.tokens()).map_or(0, |warm| warm.cached);
        let (pooled, elsewhere) = match mirror {
            Some(Mirror::Pool(pool)) => (true, pool.cached(prompt)),
            Some(Mirror::Lanes(lanes)) => (false, lanes.anywhere(prompt)),
            None => (false, 0),
        };
        // all turns of a pool find the same there, and those of a load wait for the last: the first of the best will do
        let alike = pooled || loads;
        let last = turns.iter().map(|turn| turn.at).fold(0.0, f64::max);
        let mut best: Option<(Later, Terms)> = None;
        for (index, turn) in turns.iter().enumerate() {
            // another model is loaded when all is quiet
            let wait = if loads { last } else { turn.at }.max(0.0);
            let same = alike && (best.is_some() || !loads && turn.at > soonest);
            if same || wait >= best.map_or(most, |(best, _)| best.cost) {
                continue;
            }
            *self.evaluations += 1;
            let (here, cached) = match (&turn.held, mirror) {
                _ if alike => (0, elsewhere),
                (Some(held), _) => {
                    let here = held.common(prompt);
                    (here, here.max(elsewhere))
                }
                (None, Some(mirror)) => (0, idle(mirror)),
                (None, None) => (0, 0),
            };
            let cached = cached.min(ticket.tokens().saturating_sub(1));
            let uncached = ticket.tokens() - cached;
            let prefill = f64::from(uncached) / rate;
            self.forgets(ticket, mirror, turn, (here, cached), answer);
            let eviction = match loads {
                true => self.unloads_later(place, room),
                false => self.again(End::Unknown, rate),
            };
            let terms =
                Terms { wait, load, prefill, eviction, favour, cached, uncached, rate, ..Terms::default() };
            let cost = terms.cost();
            if best.is_none_or(|(best, _)| cost < best.cost) {
                let service = load + prefill + answer / known.speeds.decode(place);
                best = Some((Later { backend: place.0, turn: index, cost, favour, wait, service }, terms));
            }
        }
        let (later, terms) = best?;
        self.notes.add(candidate, place, Seat::Busy(terms));
        Some(later)
    }
}

/// The candidates that may take a request, now or when a slot of theirs is free.
#[inline(always)]
fn candidates<'a>(
    ticket: &'a Ticket,
    slots: &'a Slots,
) -> impl Iterator<Item = (u16, &'a Candidate, &'a Room)> {
    let reserve = reserve(ticket, slots);
    let candidates = (0u16..).zip(ticket.arrival.candidates.iter().take(CANDIDATES_MAX));
    candidates.filter_map(move |(index, candidate)| {
        let room = slots.room(candidate.backend)?;
        let may = candidate.reserve == reserve && room.able() && fits(ticket.tokens(), &room.backend);
        let tried = ticket.tried.len() > 0 && ticket.tried.contains(candidate.backend);
        (may && !tried).then_some((index, candidate, room))
    })
}

/// Costs that differ by no more are equal.
fn near(one: f64, other: f64) -> f64 {
    0.001 + 0.01 * one.min(other)
}

/// Lower cost; within a hundredth of it the higher priority, the lower load, and what a conversation's beginning draws.
#[inline(always)]
fn better(one: &Now, other: &Now, (ticket, slots): (&Ticket, &Slots)) -> bool {
    let (a, b) = (one.cost - one.favour, other.cost - other.favour);
    if (a - b).abs() > near(one.cost, other.cost) {
        return a < b;
    }
    let order = one.priority.cmp(&other.priority).then_with(|| other.load.total_cmp(&one.load));
    order.then_with(|| drawn((one.backend, other.backend), ticket, slots)).is_gt()
}

/// What the beginning of a conversation draws of two servers' lots, or of their numbers where those are the same.
#[cold]
#[inline(never)]
fn drawn((one, other): (BackendId, BackendId), ticket: &Ticket, slots: &Slots) -> Ordering {
    let prompt = &ticket.arrival.prompt;
    let begins =
        if prompt.len() > 0 { prompt.hash_at(1.min(prompt.len() - 1)) } else { ticket.arrival.ticket.0 };
    let draw = |of: u32| crate::rng::draw(0, begins, of.into());
    let lot = |id: BackendId| slots.room(id).map_or(id.0, |room| room.backend.lot);
    draw(lot(one)).cmp(&draw(lot(other))).then_with(|| draw(one.0).cmp(&draw(other.0)))
}
