//! The pass over those who wait: who starts where, who waits for what, and when to look again.

use std::collections::BTreeSet;

use crate::affinity::{Mirror, Warm};
use crate::choose::choose;
use crate::explain::{Notes, Reason, Verdict};
use crate::queue::{Declined, Kind, Number, Ticket};
use crate::room::Room;
use crate::scheduler::Scheduler;
use crate::slots::Slots;
use crate::timeline::Timeline;
use crate::weigh::{Now, Options, Weigher};
use crate::{BackendId, Decision, ModelId, Moment, Policy, Span, TicketId, Tuning};

/// How many of those who wait are weighed at once.
pub const WINDOW: usize = 16;
/// While a slot is kept for a conversation, it is asked this often whether that is still right.
const HOLD_STEP: Span = Span::from_millis(500);
/// A voluntary wait is never looked at again sooner.
const WAIT_STEP: Span = Span::from_millis(50);

/// No voluntary wait is longer than so many seconds and this part of what it saves: a slot that did not come free for so
/// long may not for long, but where all else takes minutes, it is worth to go on for longer.
const WAIT_SURE_S: f64 = 10.0;
const WAIT_FURTHER: f64 = 0.1;

/// So long before its deadline nobody waits for what is better than a free slot.
const DEADLINE_SPARED: Span = Span::from_millis(100);

/// Scratch and memory of the passes.
#[derive(Default)]
pub(crate) struct Pass {
    timeline: Timeline,
    lost: Vec<crate::affinity::Lost>,
    window: Vec<Number>,
    /// Backends with free slots that those who wait did not take.
    spared: BTreeSet<BackendId>,
    /// Whether the timeline has all who wait in it, as things are.
    current: bool,
    wake: Option<Moment>,
    evaluations: u64,
    pub(crate) notes: Notes,
}

impl Pass {
    /// When somebody has waited as long as was worth it.
    pub(crate) fn next_wake(&self) -> Option<Moment> {
        self.wake
    }

    /// Backends that may have a free slot, which nobody was offered.
    pub(crate) fn spare(&mut self, backends: impl IntoIterator<Item = BackendId>) {
        self.spared.extend(backends);
        self.current = false;
    }

    /// Nobody waits any more.
    pub(crate) fn forget(&mut self) {
        self.spared.clear();
        (self.wake, self.current) = (None, false);
    }

    /// How many slots were weighed for requests so far.
    pub(crate) fn evaluations(&self) -> u64 {
        self.evaluations
    }
}

/// Where a request starts.
pub(crate) struct Place {
    pub(crate) candidate: u16,
    pub(crate) backend: BackendId,
    pub(crate) model: ModelId,
    /// What is there of its prompt, where that was looked at.
    pub(crate) warm: Option<Warm>,
}

/// What came of a look at a request.
struct Outcome {
    place: Option<Place>,
    /// Since when it waits for what is better than a free slot.
    declined: Declined,
    /// None where there was nothing to weigh.
    verdict: Option<Verdict>,
}

impl Scheduler {
    /// Starts those who may and should, in order, until what is free is taken or spared.
    pub(crate) fn fill(&mut self, freed: BTreeSet<BackendId>, out: &mut Vec<Decision>) {
        (self.pass.wake, self.pass.current) = (None, false);
        if self.queue.len() == 0 {
            if !self.pass.spared.is_empty() {
                self.pass.spared.clear();
            }
            return;
        }
        let mut open = std::mem::take(&mut self.pass.spared);
        open.extend(freed);
        let mut window = std::mem::take(&mut self.pass.window);
        'again: loop {
            open.retain(|backend| self.slots.free(*backend) > 0);
            self.pass.wake = None;
            if open.is_empty() {
                break;
            }
            self.pass.wake = self.slots.collate(&self.queue, self.fleet.tuning.collate, self.now);
            self.window(&open, &mut window);
            self.pass.timeline.clear(self.queue.backlog(&open));
            for number in &window {
                let place = self.place_waiting(*number);
                if let Some(place) = place
                    && let Some(ticket) = self.queue.take(*number)
                {
                    self.start(ticket, &place, out);
                    continue 'again;
                }
            }
            self.pass.current = true;
            break;
        }
        self.pass.window = window;
        self.pass.spared = open;
    }

    /// Where one that came in, or back, starts now; behind all who wait. One that `must` takes what is free.
    pub(crate) fn place_last(&mut self, ticket: &mut Ticket, must: bool) -> Option<Place> {
        if self.queue.len() == 0 {
            self.pass.timeline.forget();
        } else if !self.pass.current {
            self.pass.timeline.clear(self.queue.backlog(&BTreeSet::new()));
        }
        self.slots.look(ticket);
        self.slots.collate(&self.queue, self.fleet.tuning.collate, self.now);
        let outcome = self.moment().place(ticket, must);
        self.note(ticket, outcome)
    }

    /// Whether a newcomer is placed by the pass over all who wait, which knows who comes before it and who behind. Where
    /// more wait than a pass looks at, it comes behind them.
    pub(crate) fn joins(&self, ticket: &Ticket) -> bool {
        if self.queue.overtaken(ticket.number) {
            return true;
        }
        let weighs = ticket.arrival.policy == Policy::CacheAffine;
        weighs && (1..WINDOW).contains(&self.queue.len()) && ticket.arrival.deadline > self.now
    }

    /// One that is about to wait may have a free slot among these, which it did not take.
    pub(crate) fn spare(&mut self, eligible: &[BackendId]) {
        let free = eligible.iter().filter(|backend| self.slots.free(**backend) > 0);
        self.pass.spared.extend(free);
    }

    /// Things are not as they were when the timeline was made.
    pub(crate) fn stale(&mut self) {
        self.pass.current = false;
    }

    /// A prompt is about to be remembered: not in the place of one that somebody waits for.
    pub(crate) fn look_ahead(&mut self, ticket: TicketId) {
        let run = self.slots.run(ticket).map(|run| run.ticket.arrival.policy);
        if run == Some(Policy::LongWaits) {
            for ticket in self.queue.oldest().take(WINDOW) {
                self.slots.look(ticket);
            }
        }
    }

    fn place_waiting(&mut self, number: Number) -> Option<Place> {
        let mut queue = std::mem::take(&mut self.queue);
        if let Some(ticket) = queue.ticket(number) {
            self.slots.look(ticket);
        }
        let place = queue.ticket_mut(number).and_then(|ticket| {
            let outcome = self.moment().place(ticket, false);
            self.note(ticket, outcome)
        });
        self.queue = queue;
        place
    }

    fn note(&mut self, ticket: &mut Ticket, outcome: Outcome) -> Option<Place> {
        ticket.declined = outcome.declined;
        if let Some(verdict) = outcome.verdict.filter(|_| self.pass.notes.on) {
            self.pass.notes.close(ticket, &self.slots, verdict, self.now);
        }
        outcome.place
    }

    fn moment(&mut self) -> At<'_> {
        At {
            seed: self.seed,
            now: self.now,
            slots: &self.slots,
            tuning: &self.fleet.tuning,
            pass: &mut self.pass,
        }
    }

    /// Whether requests of a kind may start on an open backend: none that would end a generation, or load a model that
    /// is being loaded elsewhere for them.
    fn takes(&self, backend: BackendId, kind: &Kind) -> bool {
        let (Some(room), Some(model)) = (self.slots.room(backend), kind.model(backend)) else { return false };
        let loading = |other: &BackendId| {
            let loading =
                self.slots.room(*other).filter(|_| *other != backend).and_then(|room| room.memory.loading);
            loading.is_some() && loading == kind.model(*other)
        };
        room.takes(model, kind.policy) && !(room.loads(model) && kind.eligible.iter().any(loading))
    }

    /// The first of those who may use one of the open backends: by class, then by what their keys had, then by arrival;
    /// and the oldest of all.
    fn window(&self, open: &BTreeSet<BackendId>, window: &mut Vec<Number>) {
        let may = |kind: &Kind| {
            let reserve = kind.reserve(|backend| self.slots.room(backend).is_some_and(Room::sure));
            kind.of(reserve).any(|backend| open.contains(&backend) && self.takes(backend, kind))
        };
        self.line_up(may, window);
    }

    /// The first of those whose kind `may` start, in the order in which they are looked at.
    pub(crate) fn line_up(&self, may: impl Fn(&Kind) -> bool, window: &mut Vec<Number>) {
        let fair = &self.slots.fair;
        let tuning = &self.fleet.tuning;
        let least = fair.least(self.queue.keys().keys());
        let rank = |key, number, picked: usize| {
            let like = self.queue.ticket(number).filter(|_| picked > 0).map(Ticket::like);
            let each = like.map_or(0.0, |like| 2.0 + self.slots.known.answers.expected(like) / 30.0);
            fair.rank(key, picked as f64 * each, least, tuning.fair_quantum)
        };
        self.queue.window(may, WINDOW, (self.now, tuning.age_max), rank, window);
    }
}

/// One moment of the pass.
struct At<'a> {
    seed: u64,
    now: Moment,
    slots: &'a Slots,
    tuning: &'a Tuning,
    pass: &'a mut Pass,
}

impl At<'_> {
    /// Where a request starts now, if it should: it may be better off with a slot that is busy.
    fn place(mut self, ticket: &Ticket, must: bool) -> Outcome {
        self.pass.notes.clear();
        let alone = self.nothing_to_weigh(ticket);
        if ticket.arrival.policy != Policy::CacheAffine || alone {
            return self.first(ticket, alone);
        }
        let mut weigher = Weigher {
            slots: self.slots,
            tuning: self.tuning,
            now: self.now,
            evaluations: &mut self.pass.evaluations,
            lost: &mut self.pass.lost,
            notes: &mut self.pass.notes,
        };
        // nobody who declined a free slot is refused for want of one
        let last = ticket.arrival.deadline <= self.now + DEADLINE_SPARED;
        let options = weigher.options(ticket, must || last, &mut self.pass.timeline);
        let mut declined = ticket.declined;
        let goes = self.goes(&mut declined, &options, ticket.arrival.deadline);
        if let (Some(now), Ok(reason)) = (options.now, goes) {
            let Now { candidate, backend, model, warm, .. } = now;
            let reason = match reason {
                _ if must || last => Reason::Pressed,
                _ if self.now.since(ticket.since) >= self.tuning.age_max => Reason::Old,
                reason => reason,
            };
            let verdict = Some(Verdict::Start { candidate, backend, reason });
            return Outcome { place: Some(Place { candidate, backend, model, warm }), declined, verdict };
        }
        if options.held {
            let spared = (ticket.arrival.deadline - self.now) - DEADLINE_SPARED;
            self.look_again(HOLD_STEP.min(spared));
        }
        if let Some(later) = &options.later {
            let answer = self.slots.known.answers.expected(ticket.like());
            self.pass.timeline.reserve(later, ticket, answer);
        }
        let verdict = match goes {
            Err(wait) => wait,
            Ok(_) if options.held => Verdict::Kept,
            Ok(_) => Verdict::Full,
        };
        Outcome { place: None, declined, verdict: Some(verdict) }
    }

    /// The first in the order of a policy that reckons no seconds, or the only one.
    fn first(&mut self, ticket: &Ticket, alone: bool) -> Outcome {
        let chosen = choose(self.seed, ticket, self.slots);
        let place = chosen.map(|(candidate, backend)| {
            let model = ticket.arrival.candidates[usize::from(candidate)].model;
            Place { candidate, backend, model, warm: None }
        });
        let plain = alone && place.is_some() && ticket.story.is_none();
        if !self.pass.notes.on || plain {
            return Outcome { place, declined: None, verdict: None };
        }
        self.pass.notes.order(ticket, self.slots);
        let start = |(candidate, backend)| Verdict::Start { candidate, backend, reason: Reason::Order };
        Outcome { place, declined: None, verdict: Some(chosen.map_or(Verdict::Full, start)) }
    }

    /// Whether there is one place to go, which holds nothing that this request could use or displace.
    fn nothing_to_weigh(&self, ticket: &Ticket) -> bool {
        let [candidate] = &*ticket.arrival.candidates else { return false };
        let place = (candidate.backend, candidate.model);
        let lanes = matches!(self.slots.known.caches.mirror(place), Some(Mirror::Lanes(_)));
        ticket.arrival.prompt.len() == 0 && !lanes
    }

    /// Why a request takes the free slot, if there is one. It waits for a busy one where that is clearly better, never
    /// for longer than a part of what that saves.
    fn goes(
        &mut self,
        declined: &mut Declined,
        options: &Options,
        deadline: Moment,
    ) -> Result<Reason, Verdict> {
        let (Some(now), Some(later)) = (&options.now, &options.later) else { return Ok(Reason::Cheapest) };
        if now.cost * (1.0 - self.tuning.wait_margin) <= later.cost {
            return Ok(Reason::Cheapest);
        }
        let saves = (now.cost - (later.cost - later.wait)).max(0.0);
        let (since, first) = *declined.get_or_insert((self.now, saves));
        let saves = saves.max(first);
        let part = (self.tuning.wait_budget * saves).min(WAIT_SURE_S + WAIT_FURTHER * saves);
        let worth = Span::of_secs(part).min(self.tuning.wait_max);
        let waited = self.now.since(since);
        if waited >= worth {
            return Ok(Reason::Waited);
        }
        let spared = (deadline - self.now) - DEADLINE_SPARED;
        self.look_again((worth - waited).max(WAIT_STEP).min(spared));
        Err(Verdict::Await { backend: later.backend, saves, at_most: worth })
    }

    fn look_again(&mut self, after: Span) {
        let at = self.now + after;
        self.pass.wake = Some(self.pass.wake.map_or(at, |wake| wake.min(at)));
    }
}
