//! How a request was placed, as data: what there was for it, what each would have cost, and what it waited for.

use std::cmp::Ordering;

use crate::choose::{fits, reserve};
use crate::queue::Ticket;
use crate::scheduler::Scheduler;
use crate::slots::Slots;
use crate::{BackendId, CANDIDATES_MAX, Candidate, Health, ModelId, Moment, Policy, Span, TicketId};

/// Rows that are kept of one look: the one that it came to, then free slots, busy ones and the rest, the cheapest first.
pub const ROWS_MAX: usize = 16;
/// Looks that are kept of one request: the first and the latest ones.
pub const LOOKS_MAX: usize = 6;

/// What a slot would cost a request, in seconds: the very terms that are added up to choose it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Until it is free; of a free one, at the server itself, which others use too.
    pub wait: f64,
    /// For loading the model.
    pub load: f64,
    /// For reading what is not cached, alone.
    pub prefill: f64,
    /// By which prompts that are being read there make that longer.
    pub share: f64,
    /// What others must read again because this one takes their place, weighted.
    pub eviction: f64,
    /// What it slows others there down by, weighted.
    pub interference: f64,
    /// What makes equals share: more where more slots are taken.
    pub balance: f64,
    /// What the backend's priority is worth: taken off where slots are compared, no part of the cost.
    pub favour: f64,
    /// Tokens of the prompt that are thought to be cached.
    pub cached: u32,
    /// The others.
    pub uncached: u32,
    /// At which they are read, in tokens a second.
    pub rate: f64,
}

impl Terms {
    /// All told.
    pub fn cost(&self) -> f64 {
        let here = self.wait + self.load + self.prefill + self.share + self.eviction;
        here + self.interference + self.balance
    }
}

/// Why a candidate has no slot for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bar {
    /// It is not in the fleet.
    Gone,
    /// It failed on this request.
    Tried,
    /// The prompt is longer than it takes.
    TooLong,
    /// It takes no new work.
    Draining,
    /// Probes say that it is down.
    Down,
    /// Its breaker is open, or it asked to be left alone.
    Resting,
    /// It gets one request at a time until one is answered, and has it.
    OnTrial,
    /// It is in reserve: one that is not could take the request, now or later.
    InReserve,
    /// No slot is free.
    Full,
    /// Its memory is in use for other models, or their turn.
    OtherModel,
    /// The model is being loaded elsewhere.
    LoadsElsewhere,
    /// A free slot is kept for a conversation that will be back in moments.
    Kept,
    /// The policy sends this prompt only where it was seen.
    NeverSeen,
}

/// What a candidate has for a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seat {
    /// A free slot.
    Free(Terms),
    /// A busy slot, the one of its that is best to wait for.
    Busy(Terms),
    /// A free slot, by a policy that reckons no seconds.
    Open {
        /// How many slots nobody holds.
        vacant: u32,
        /// Of how many.
        slots: u32,
        /// Of the backend.
        priority: i32,
    },
    /// None.
    None(Bar),
}

/// One way that there was for a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Index into the candidates that it had then.
    pub candidate: u16,
    /// Where.
    pub backend: BackendId,
    /// Under which name.
    pub model: ModelId,
    /// What there is.
    pub seat: Seat,
}

/// Why a request takes a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It costs least, and no busy slot is so much better that it is worth waiting for.
    Cheapest,
    /// It waited for a better one as long as that was worth.
    Waited,
    /// It has waited so long that it takes the first that is free.
    Old,
    /// Its deadline is near, or nobody else may wait.
    Pressed,
    /// First in the order of the policy.
    Order,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It starts there.
    Start {
        /// Index into the candidates that it had then.
        candidate: u16,
        /// Where.
        backend: BackendId,
        /// Why.
        reason: Reason,
    },
    /// It waits for a busy slot though one is free.
    Await {
        /// Whose.
        backend: BackendId,
        /// Seconds by which that slot, once it is free, is better than the free one.
        saves: f64,
        /// For so long at most, from the first such look on.
        at_most: Span,
    },
    /// It waits: the free slots are kept for conversations that will be back in moments.
    Kept,
    /// It waits: there is no slot for it.
    Full,
}

impl Verdict {
    /// Whether two looks are one wait, or one start.
    fn goes_on(&self, before: &Verdict) -> bool {
        match (self, before) {
            (Verdict::Start { backend, .. }, Verdict::Start { backend: other, .. })
            | (Verdict::Await { backend, .. }, Verdict::Await { backend: other, .. }) => backend == other,
            (Verdict::Kept, Verdict::Kept) | (Verdict::Full, Verdict::Full) => true,
            _ => false,
        }
    }

    /// The row that it came to: of a free slot, or of a busy one.
    fn chose(&self, row: &Row) -> bool {
        match self {
            Verdict::Start { candidate, .. } => {
                *candidate == row.candidate && matches!(row.seat, Seat::Free(_) | Seat::Open { .. })
            }
            Verdict::Await { backend, .. } => *backend == row.backend && matches!(row.seat, Seat::Busy(_)),
            Verdict::Kept | Verdict::Full => false,
        }
    }

    /// What it came to first, then free slots, busy ones and the rest, the cheapest first.
    fn order(&self, a: &Row, b: &Row) -> Ordering {
        let rank = |row: &Row| match row.seat {
            _ if self.chose(row) => (0, 0.0),
            Seat::Free(terms) => (1, terms.cost() - terms.favour),
            Seat::Open { priority, .. } => (1, -f64::from(priority)),
            Seat::Busy(terms) => (2, terms.cost() - terms.favour),
            Seat::None(_) => (3, 0.0),
        };
        let ((kind, cost), (other_kind, other_cost)) = (rank(a), rank(b));
        let costs = kind.cmp(&other_kind).then(cost.total_cmp(&other_cost));
        costs.then(a.candidate.cmp(&b.candidate))
    }
}

/// A request was weighed; further looks of the same outcome are counted with it, and their figures replace the older ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The first of them.
    pub since: Moment,
    /// The last of them.
    pub at: Moment,
    /// How many.
    pub looks: u32,
    /// What came of it.
    pub verdict: Verdict,
    /// What there was, at most `ROWS_MAX`; where it starts or what it waits for is the first.
    pub rows: Vec<Row>,
    /// Rows left out.
    pub more: u32,
}

/// How a request was placed, from its arrival or its last failure on.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// By which rule.
    pub policy: Policy,
    /// When it arrived.
    pub arrived: Moment,
    /// The estimated length of its prompt in tokens.
    pub tokens: u32,
    /// In order, at most `LOOKS_MAX`: the first, and the latest ones.
    pub looks: Vec<Look>,
    /// Looks left out in between.
    pub more: u32,
}

/// What was expected of a request when it started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Tokens of its prompt that were thought to be cached.
    pub cached: u32,
    /// Seconds to its first token, the load of the model included.
    pub first_token: f64,
}

/// Where what is weighed is written down, when anybody wants to know.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) on: bool,
    rows: Vec<Row>,
}

impl Notes {
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    pub(crate) fn add(&mut self, candidate: u16, (backend, model): (BackendId, ModelId), seat: Seat) {
        if self.on {
            self.rows.push(Row { candidate, backend, model, seat });
        }
    }

    /// What a policy that reckons no seconds saw.
    pub(crate) fn order(&mut self, ticket: &Ticket, slots: &Slots) {
        let reserve = reserve(ticket, slots);
        for (index, candidate) in candidates(ticket) {
            let barred = bar(ticket, candidate, slots, reserve).is_some();
            let open = slots.room(candidate.backend).filter(|_| !barred);
            if let Some(room) = open {
                let (vacant, slots, priority) = (room.vacant(), room.slots(), room.backend.priority);
                self.add(index, (candidate.backend, candidate.model), Seat::Open { vacant, slots, priority });
            }
        }
    }

    /// Takes down what a look came to, with why the other candidates had nothing.
    pub(crate) fn close(&mut self, ticket: &mut Ticket, slots: &Slots, verdict: Verdict, now: Moment) {
        let mut seated = [0u64; CANDIDATES_MAX / 64];
        for row in &self.rows {
            seated[usize::from(row.candidate) / 64] |= 1 << (row.candidate % 64);
        }
        let reserve = reserve(ticket, slots);
        let unseated = |index: u16| seated[usize::from(index) / 64] & (1 << (index % 64)) == 0;
        let else_bar =
            if ticket.arrival.policy == Policy::LongWaits { Bar::NeverSeen } else { Bar::LoadsElsewhere };
        for (index, candidate) in candidates(ticket).filter(|(index, _)| unseated(*index)) {
            let why = bar(ticket, candidate, slots, reserve).unwrap_or(else_bar);
            self.add(index, (candidate.backend, candidate.model), Seat::None(why));
        }
        let more = self.rows.len().saturating_sub(ROWS_MAX) as u32;
        if more > 0 {
            self.rows.select_nth_unstable_by(ROWS_MAX, |a, b| verdict.order(a, b));
            self.rows.truncate(ROWS_MAX);
        }
        self.rows.sort_unstable_by(|a, b| verdict.order(a, b));
        let (policy, arrived, tokens) = (ticket.arrival.policy, ticket.since, ticket.tokens());
        let story = ticket.story.get_or_insert_with(|| {
            Box::new(Story { policy, arrived, tokens, looks: Vec::with_capacity(1), more: 0 })
        });
        story.note(&self.rows, more, verdict, now);
    }
}

impl Story {
    fn note(&mut self, rows: &[Row], more: u32, verdict: Verdict, now: Moment) {
        if let Some(last) = self.looks.last_mut()
            && verdict.goes_on(&last.verdict)
        {
            (last.at, last.verdict, last.more) = (now, verdict, more);
            last.looks = last.looks.saturating_add(1);
            last.rows.clear();
            last.rows.extend_from_slice(rows);
            return;
        }
        if self.looks.len() >= LOOKS_MAX {
            let left_out = self.looks.remove(1);
            self.more = self.more.saturating_add(left_out.looks);
        }
        self.looks.push(Look { since: now, at: now, looks: 1, verdict, rows: rows.to_vec(), more });
    }

    /// Where it was started at last.
    pub fn winner(&self) -> Option<(u16, BackendId)> {
        match self.looks.last()?.verdict {
            Verdict::Start { candidate, backend, .. } => Some((candidate, backend)),
            Verdict::Await { .. } | Verdict::Kept | Verdict::Full => None,
        }
    }
}

impl Scheduler {
    /// From now on it is written down how requests are placed, or no longer.
    pub fn explain(&mut self, on: bool) {
        self.pass.notes.on = on;
    }

    /// How a ticket that waits, runs, or was refused by the latest event was placed; `None` where there was nothing to
    /// weigh (one candidate, and nothing of its prompt known there) or nothing is written down.
    pub fn story(&self, ticket: TicketId) -> Option<&Story> {
        let waits = || self.queue.number(ticket).and_then(|number| self.queue.ticket(number));
        let lives = self.slots.run(ticket).map(|run| &*run.ticket).or_else(waits);
        let refused = || self.refused.iter().find(|(id, _)| *id == ticket).map(|(_, story)| &**story);
        lives.and_then(|ticket| ticket.story.as_deref()).or_else(refused)
    }

    /// As `story`, of a ticket that runs or was refused, and forgets it here.
    pub fn take_story(&mut self, ticket: TicketId) -> Option<Box<Story>> {
        if let Some(at) = self.refused.iter().position(|(id, _)| *id == ticket) {
            return Some(self.refused.swap_remove(at).1);
        }
        self.slots.take_story(ticket)
    }

    /// What was expected of a ticket when it started, while it runs.
    pub fn expected(&self, ticket: TicketId) -> Option<Expected> {
        let course = &self.slots.run(ticket)?.course;
        Some(Expected { cached: course.thought, first_token: course.prefill })
    }
}

fn candidates(ticket: &Ticket) -> impl Iterator<Item = (u16, &Candidate)> {
    (0u16..).zip(ticket.arrival.candidates.iter().take(CANDIDATES_MAX))
}

/// Why a candidate has no free slot for a request; `None` where it has one.
fn bar(ticket: &Ticket, candidate: &Candidate, slots: &Slots, reserve: u8) -> Option<Bar> {
    let Some(room) = slots.room(candidate.backend) else { return Some(Bar::Gone) };
    let bars = [
        (ticket.tried.contains(candidate.backend), Bar::Tried),
        (!fits(ticket.tokens(), &room.backend), Bar::TooLong),
        (room.backend.draining, Bar::Draining),
        (room.backend.health == Health::Unhealthy, Bar::Down),
        (room.switch.rests_until().is_some(), Bar::Resting),
        (!room.sure(), Bar::OnTrial),
        (candidate.reserve != reserve, Bar::InReserve),
        (room.vacant() == 0, Bar::Full),
        (!room.takes(candidate.model, ticket.arrival.policy), Bar::OtherModel),
        (slots.loads_elsewhere((candidate.backend, candidate.model), room, ticket), Bar::OtherModel),
    ];
    bars.into_iter().find(|(barred, _)| *barred).map(|(_, bar)| bar)
}
