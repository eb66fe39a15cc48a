//! The end of the permit protocol that every data plane has: what it holds, what runs on it, and what it tells the lead.

use std::collections::{BTreeMap, VecDeque};

mod end;
mod event;
mod hear;
mod open;

use crate::permit::{
    Flaw, HELD_MAX, Holding, Incarnation, Member, OPEN_MAX, Permit, PlaneId, Planted, SILENCE_MARGIN, Term,
    Up,
};
use crate::{BackendId, Moment, RETRY_AFTER_MIN, Refusal, Span, TicketId};
pub use event::{Act, Event};
use open::{Open, Waiting};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    None,
    /// Asked for, or greeted and not yet welcomed.
    Opening(u64),
    Welcomed(u64),
}

#[derive(Clone, Debug, Default)]
struct Hold {
    running: Option<TicketId>,
    /// It goes back when it is idle.
    leaving: bool,
}

#[derive(Debug)]
struct Run {
    permit: Permit,
    open: Open,
}

#[derive(Debug, Default)]
struct Line {
    next: VecDeque<Option<TicketId>>,
    contended: bool,
}

/// A data plane's end of the protocol. The same events give the same acts.
///
/// What drives it guarantees:
/// - Each process has an incarnation of its own, counted durably before `new`, and the lock of its state directory.
/// - A stream delivers in order or not at all, and ends when nothing has come by it for half a second though something
///   was asked: ending one is always safe, and bounds what a lead or an owner that hangs takes with it.
/// - `Closed` and `Failed` are said when the upstream connection is closed and the engine is known idle, or the grace of its
///   kind is over; not when the client is gone.
/// - `Act::Connect` may be put off, as after a failure; the answer is `Up` or `Lost`. A lead in the same process is reached
///   by handing each message over at once.
/// - While a data plane is the only one that is registered, and leads, nothing of this is needed: its scheduler starts on
///   all slots itself. Once another is registered it says `Runs` for what runs, and `Arrive` for who waits, before the
///   first `Picture`.
#[derive(Debug)]
pub struct Owner {
    member: Member,
    /// The greatest term heard of. Never falls.
    heard: Term,
    lead: Option<(PlaneId, Term)>,
    attempts: u64,
    stream: Stream,
    /// At most `HELD_MAX`.
    held: BTreeMap<Permit, Hold>,
    /// One for each permit that is not idle.
    runs: BTreeMap<TicketId, Run>,
    /// At most `OPEN_MAX`.
    waiting: Waiting,
    /// Of backends at which somebody waits; others are not there.
    lines: BTreeMap<BackendId, Line>,
    silence: Option<Span>,
    contact: Moment,
    /// Nothing starts any more: nobody was heard of for too long, or it is known dead.
    mute: bool,
    fenced: bool,
    leaving: bool,
    planted: Planted,
}

impl Owner {
    /// A process that has just started: it holds nothing.
    pub fn new(plane: PlaneId, incarnation: Incarnation) -> Self {
        Owner {
            member: Member { plane, incarnation },
            heard: Term::default(),
            lead: None,
            attempts: 0,
            stream: Stream::None,
            held: BTreeMap::new(),
            runs: BTreeMap::new(),
            waiting: Waiting::default(),
            lines: BTreeMap::new(),
            silence: None,
            contact: Moment::default(),
            mute: false,
            fenced: false,
            leaving: false,
            planted: Planted::default(),
        }
    }

    /// The same with a rule left out.
    #[cfg(feature = "flaws")]
    pub fn plant(mut self, flaw: Option<Flaw>) -> Self {
        self.planted = Planted(flaw);
        self
    }

    /// Takes in one event and appends what is to be done, in order.
    pub fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Act>) {
        match event {
            Event::Picture { lead } => self.picture(lead, out),
            Event::Up { attempt } => self.greet(attempt, out),
            Event::Lost { attempt } => self.lost(attempt, out),
            Event::Heard { attempt, message } => self.hear(now, attempt, message, out),
            Event::Arrive { ticket, wants, since, deadline, unasked } => {
                self.arrive(now, ticket, Open::new(wants, since, deadline), &unasked, out);
            }
            Event::FirstToken { ticket } => {
                if self.runs.contains_key(&ticket) {
                    self.say(Up::FirstToken { ticket }, out);
                }
            }
            Event::Closed { ticket, outcome, usage } => self.closed(ticket, outcome, usage, out),
            Event::Failed { ticket, fault, sent, cools } => self.failed(ticket, (fault, sent), cools, out),
            Event::Cancel { ticket } => {
                if self.waiting.take(ticket).is_some() {
                    self.say(Up::Cancel { ticket }, out);
                }
            }
            Event::Limit { backend, slots } => self.limit(backend, slots, out),
            Event::Contact { sent } => self.contact(now, sent, out),
            Event::Silence(silence) => self.silence = silence,
            Event::Fenced => {
                self.fenced = true;
                self.fall_silent(out);
                self.disconnect(out);
            }
            Event::Runs { ticket, permit, wants, deadline } => {
                if self.stream == Stream::None && !self.held.contains_key(&permit) {
                    self.held.insert(permit, Hold { running: Some(ticket), leaving: false });
                    self.runs.insert(ticket, Run { permit, open: Open::new(wants, now, deadline) });
                }
            }
            Event::Owns { permit } => {
                if self.stream == Stream::None && self.held.len() < HELD_MAX {
                    self.held.entry(permit).or_default();
                }
            }
            Event::Leave => {
                self.leaving = true;
                let idle = self.held.iter().filter(|(_, hold)| hold.running.is_none());
                for permit in idle.map(|(permit, _)| *permit).collect::<Vec<_>>() {
                    self.revoke(permit, out);
                }
            }
            Event::Wake => {}
        }
        if !self.mute && self.next_wake().is_some_and(|due| due <= now) {
            self.fall_silent(out);
        }
    }

    /// When `handle` wants to be called if nothing else happens before: silence counts as death then.
    pub fn next_wake(&self) -> Option<Moment> {
        let silence = self.silence.filter(|_| !self.mute)?;
        Some(self.contact + Span(silence.0.saturating_sub(SILENCE_MARGIN.0)))
    }

    /// Who this is.
    pub fn member(&self) -> Member {
        self.member
    }

    /// The greatest term that it has heard of.
    pub fn heard(&self) -> Term {
        self.heard
    }

    /// Every permit that it holds, and what runs on it.
    pub fn held(&self) -> impl Iterator<Item = (Permit, Option<TicketId>)> {
        self.held.iter().map(|(permit, hold)| (*permit, hold.running))
    }

    /// How many requests wait here.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The number of the stream whose lead is heard.
    pub fn stream(&self) -> Option<u64> {
        match self.stream {
            Stream::None => None,
            Stream::Opening(attempt) | Stream::Welcomed(attempt) => Some(attempt),
        }
    }

    /// Whether there is a lead that knows what this data plane holds.
    pub fn led(&self) -> bool {
        matches!(self.stream, Stream::Welcomed(_))
    }

    /// The lead is in this very process: it has all idle permits itself.
    fn home(&self) -> bool {
        self.led() && self.lead.is_some_and(|(plane, _)| plane == self.member.plane)
    }

    fn arrive(&mut self, now: Moment, id: TicketId, open: Open, unasked: &[BackendId], out: &mut Vec<Act>) {
        if self.waiting.contains(id) || self.runs.contains_key(&id) {
            return;
        }
        if let Some(permit) = self.spot(&open, unasked) {
            return self.start(id, permit, open, true, out);
        }
        let waiting = self.waiting.len();
        if waiting >= OPEN_MAX {
            let why = Refusal::QueueFull { waiting, retry_after: RETRY_AFTER_MIN };
            return out.push(Act::Refuse { ticket: id, why });
        }
        self.say(Up::Ticket(open.ticket(id, now)), out);
        self.waiting.push(id, open);
    }

    /// An idle permit that a newcomer may take without asking.
    fn spot(&self, open: &Open, unasked: &[BackendId]) -> Option<Permit> {
        let may = |backend: &BackendId| !self.contended(*backend) && self.waiting.first(*backend).is_none();
        match self.led() {
            true if self.home() => None,
            true => unasked.iter().filter(|backend| may(backend)).find_map(|backend| self.idle(*backend)),
            false => {
                let best =
                    unasked.iter().copied().filter(|backend| open.backends().any(|other| other == *backend));
                best.chain(open.backends()).filter(may).find_map(|backend| self.idle(backend))
            }
        }
    }

    fn contended(&self, backend: BackendId) -> bool {
        self.lines.get(&backend).is_some_and(|line| line.contended)
    }

    /// An idle permit of a backend that stays.
    fn idle(&self, backend: BackendId) -> Option<Permit> {
        if self.mute || self.leaving {
            return None;
        }
        let mut held = self.held.range(every(backend));
        held.find(|(_, hold)| hold.running.is_none() && !hold.leaving).map(|(permit, _)| *permit)
    }

    fn start(&mut self, id: TicketId, permit: Permit, open: Open, new: bool, out: &mut Vec<Act>) {
        let wants = new.then(|| open.wants.clone());
        self.say(Up::Started { permit, ticket: id, wants }, out);
        self.run(id, permit, open, out);
    }

    fn run(&mut self, id: TicketId, permit: Permit, open: Open, out: &mut Vec<Act>) {
        let hold = self.held.get_mut(&permit).expect("what runs, runs on a held permit");
        hold.running = Some(id);
        self.runs.insert(id, Run { permit, open });
        out.push(Act::Start { ticket: id, permit });
    }

    fn limit(&mut self, backend: BackendId, slots: u32, out: &mut Vec<Act>) {
        self.give_back(|permit| permit.backend == backend && permit.slot.0 >= slots, out);
    }

    /// Gives permits back, those that are busy at the end of their requests.
    fn give_back(&mut self, which: impl Fn(Permit) -> bool, out: &mut Vec<Act>) {
        let permits: Vec<Permit> = self.held.keys().copied().filter(|permit| which(*permit)).collect();
        for permit in permits {
            self.revoke(permit, out);
        }
    }

    fn revoke(&mut self, permit: Permit, out: &mut Vec<Act>) {
        match self.held.get_mut(&permit) {
            Some(hold) if hold.running.is_some() => {
                if self.planted.is(Flaw::ReleaseWhileBusy) {
                    return self.say(Up::Release { permit }, out);
                }
                hold.leaving = true;
            }
            Some(_) => {
                self.held.remove(&permit);
                self.say(Up::Release { permit }, out);
            }
            None => {}
        }
    }

    fn contact(&mut self, now: Moment, sent: Moment, out: &mut Vec<Act>) {
        self.contact = self.contact.max(sent);
        if self.mute && !self.fenced && self.silence.is_none_or(|_| now < self.deadline()) {
            self.mute = false;
            self.serve(out);
        }
    }

    fn deadline(&self) -> Moment {
        let silence = self.silence.unwrap_or(Span(u64::MAX));
        self.contact + Span(silence.0.saturating_sub(SILENCE_MARGIN.0))
    }

    /// Stops all work, and gives up what is idle.
    fn fall_silent(&mut self, out: &mut Vec<Act>) {
        self.mute = true;
        out.extend(self.runs.keys().map(|ticket| Act::Abort { ticket: *ticket }));
        self.give_back(|_| true, out);
    }

    fn report(&self) -> Up {
        let running = |ticket: &TicketId| self.runs.get(ticket).map(|run| (*ticket, run.open.wants.clone()));
        let holding = |(permit, hold): (&Permit, &Hold)| Holding {
            permit: *permit,
            running: hold.running.as_ref().and_then(running),
        };
        Up::Report { held: self.held.iter().take(HELD_MAX).map(holding).collect() }
    }

    /// Says something to a lead that has welcomed it; to others there is nothing to say.
    fn say(&self, message: Up, out: &mut Vec<Act>) {
        if self.led() {
            out.push(Act::Send(message));
        }
    }
}

/// All permits of a backend, as a range.
fn every(backend: BackendId) -> std::ops::RangeInclusive<Permit> {
    let end = |slot| Permit { backend, slot: crate::SlotId(slot) };
    end(0)..=end(u32::MAX)
}
