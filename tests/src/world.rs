//! The simulated world around the very scheduling core: requests, virtual servers, and laws after every event.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::{
    Arrival, BackendId, Decision, Event, Fault, Fleet, Moment, Outcome, Refusal, Scheduler, Span, TicketId,
    Usage, View,
};

use crate::laws::{Law, Step};
use crate::ledger::Ledger;

mod chance;
mod digest;
mod engine;
mod mood;
mod story;
mod twist;

pub use chance::Chance;
pub use engine::Engines;
pub use mood::Mood;
pub use story::Story;
pub use twist::{Flaw, Twist};

use digest::Digest;

/// What the world asks of a core. The scheduler is one; faulty doubles of it show that the laws bite.
pub trait Core {
    /// See `Scheduler::handle`.
    fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>);
    /// See `Scheduler::next_wake`.
    fn next_wake(&self) -> Option<Moment>;
    /// See `Scheduler::view`.
    fn view(&self) -> View;
}

impl Core for Scheduler {
    fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>) {
        Scheduler::handle(self, now, event, out);
    }

    fn next_wake(&self) -> Option<Moment> {
        Scheduler::next_wake(self)
    }

    fn view(&self) -> View {
        Scheduler::view(self)
    }
}

impl Core for Box<dyn Core> {
    fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>) {
        self.as_mut().handle(now, event, out);
    }

    fn next_wake(&self) -> Option<Moment> {
        self.as_ref().next_wake()
    }

    fn view(&self) -> View {
        self.as_ref().view()
    }
}

/// One request and what becomes of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// As the core is told of it.
    pub arrival: Arrival,
    /// How long a server works on it.
    pub service: Span,
    /// How long the server works on before it hears that the client left or the connection broke.
    pub lag: Span,
    /// How it ends.
    pub fate: Fate,
}

/// How a request ends once it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Served to the end.
    Served,
    /// The connection breaks this long after the start.
    Fails(Span),
    /// It never reaches the server.
    Unsent,
    /// The client leaves then, waiting or served.
    Leaves(Moment),
}

/// Something that will happen by itself.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A request comes in.
    Arrive(Box<Request>),
    /// An event that concerns only the core.
    Tell(Event),
    /// The arrival of a ticket is told once more while it waits or runs.
    Again(TicketId),
    /// A server answers with the first token.
    FirstToken(TicketId),
    /// A started request ends.
    End(TicketId, Outcome),
    /// The attempt of a started request fails; whether the server works on it.
    Fail(TicketId, Fault, bool),
    /// A client leaves.
    Leave(TicketId),
    /// A server answers in another way from now on.
    Turn(BackendId, Mood),
    /// Someone looks at what an engine runs.
    Look(BackendId),
}

/// A request that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Which.
    pub ticket: TicketId,
    /// Where.
    pub backend: BackendId,
    /// From when.
    pub start: Moment,
}

/// What a run of the world came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events that the core handled.
    pub events: u64,
    /// A fingerprint of all moments and decisions.
    pub digest: u64,
    /// What ran, in order of start.
    pub ran: Vec<Ran>,
    /// Refusals by name.
    pub refused: BTreeMap<String, u64>,
    /// The most requests that a server worked on at once.
    pub peaks: BTreeMap<BackendId, usize>,
    /// When the last thing happened.
    pub end: Moment,
}

/// A law that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub law: &'static str,
    /// What was seen.
    pub why: String,
    /// After how many events.
    pub events: u64,
}

/// The world: what will happen, the servers, the core and its judges.
pub struct World<C> {
    core: C,
    ledger: Ledger,
    engines: Engines,
    moods: BTreeMap<BackendId, Mood>,
    laws: &'static [Law],
    coming: BTreeMap<(Moment, u64), Happening>,
    scheduled: u64,
    drowsy: bool,
    requests: BTreeMap<TicketId, Request>,
    report: Report,
    digest: Digest,
}

impl<C: Core> World<C> {
    /// A world in which nothing has happened; the core was made with the same fleet.
    pub fn new(core: C, fleet: Arc<Fleet>, laws: &'static [Law]) -> Self {
        World {
            core,
            ledger: Ledger::new(fleet),
            engines: Engines::default(),
            moods: BTreeMap::new(),
            laws,
            coming: BTreeMap::new(),
            scheduled: 0,
            drowsy: false,
            requests: BTreeMap::new(),
            report: Report::default(),
            digest: Digest::default(),
        }
    }

    /// From now on timers fire late and the clock sometimes steps back, each by less than a second.
    pub fn doze(&mut self) {
        self.drowsy = true;
    }

    /// Lets something happen at a moment; of several at one moment in this order.
    pub fn plan(&mut self, at: Moment, happening: Happening) {
        self.scheduled += 1;
        self.coming.insert((at, self.scheduled), happening);
    }

    /// Runs until nothing is left to happen, then holds the laws of a quiet world.
    pub fn run(&mut self) -> Result<(), Broken> {
        loop {
            let due = self.coming.first_key_value().map(|((at, _), _)| *at);
            let late = |wake: Moment| if self.drowsy { wake + Span(wake.0 % 1_000_000 / 10) } else { wake };
            let wake = self.core.next_wake().map(late);
            // at the same moment either may come first
            let wakes = match (due, wake) {
                (None, None) => return self.judge(true),
                (due, Some(wake)) => {
                    due.is_none_or(|due| wake < due || wake == due && self.report.events.is_multiple_of(2))
                }
                (Some(_), None) => false,
            };
            if wakes {
                self.tell(wake.unwrap_or_default().max(self.report.end), Event::Wake)?;
            } else if let Some(((at, _), happening)) = self.coming.pop_first() {
                self.report.end = self.report.end.max(at);
                self.happen(at, happening)?;
            }
        }
    }

    /// The core, at the end.
    pub fn into_core(self) -> C {
        self.core
    }

    /// What came of it.
    pub fn report(&self) -> Report {
        Report { digest: self.digest.value(), peaks: self.engines.peaks(), ..self.report.clone() }
    }

    fn happen(&mut self, at: Moment, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::Arrive(request) => {
                let arrival = request.arrival.clone();
                if let Fate::Leaves(moment) = request.fate {
                    self.plan(moment.max(at), Happening::Leave(arrival.ticket));
                }
                self.requests.insert(arrival.ticket, *request);
                self.tell(at, Event::Arrive(arrival))
            }
            Happening::Tell(event) => self.tell(at, event),
            Happening::Again(ticket) => {
                let lives = self.engines.serves(ticket) || self.ledger.waits_at(ticket, at);
                match self.requests.get(&ticket).filter(|_| lives) {
                    Some(request) => self.tell(at, Event::Arrive(request.arrival.clone())),
                    None => Ok(()),
                }
            }
            Happening::FirstToken(ticket) if self.engines.serves(ticket) => {
                self.tell(at, Event::FirstToken { ticket })
            }
            Happening::End(ticket, outcome) if self.engines.serves(ticket) => {
                self.finish(at, ticket, outcome)
            }
            Happening::Leave(ticket) if self.engines.serves(ticket) => {
                self.finish(at, ticket, Outcome::Aborted)
            }
            Happening::Leave(ticket) => self.tell(at, Event::Cancel { ticket }),
            Happening::Fail(ticket, fault, sent) if self.engines.serves(ticket) => {
                // the core gives away what time sets free before it hears of the failure; as events of their own
                // the two can be judged. A clock that steps back may need the second.
                for _ in 0..2 {
                    if self.core.next_wake().is_some_and(|wake| wake <= at) {
                        self.tell(at, Event::Wake)?;
                    }
                }
                self.end(at, ticket, if sent { Outcome::Failed } else { Outcome::Unsent });
                self.tell(at, Event::Fail { ticket, fault, sent })
            }
            Happening::FirstToken(_) | Happening::End(..) | Happening::Fail(..) => Ok(()),
            Happening::Turn(backend, mood) => {
                self.moods.insert(backend, mood);
                Ok(())
            }
            Happening::Look(backend) => {
                let idle = !self.engines.lags(backend, at);
                self.tell(at, Event::Observe { backend, idle })
            }
        }
    }

    fn end(&mut self, at: Moment, ticket: TicketId, outcome: Outcome) {
        let lag = self.requests.get(&ticket).map_or(Span::ZERO, |request| request.lag);
        if let Some(backend) = self.engines.end(ticket, outcome, at, lag) {
            self.plan(at + Span(lag.0 / 2), Happening::Look(backend));
            self.plan(at + lag, Happening::Look(backend));
        }
    }

    fn finish(&mut self, at: Moment, ticket: TicketId, outcome: Outcome) -> Result<(), Broken> {
        self.end(at, ticket, outcome);
        if outcome == Outcome::Unsent && ticket.0.is_multiple_of(2) {
            return self.tell(at, Event::Cancel { ticket });
        }
        let usage = Usage { cached: None, prompt: Some(7), output: Some(9), ..Usage::default() };
        self.tell(at, Event::Finish { ticket, outcome, usage })
    }

    fn tell(&mut self, now: Moment, event: Event) -> Result<(), Broken> {
        let mut decisions = Vec::new();
        self.report.events += 1;
        // an end told in the past would let a grace begin before the engine hears of it
        let slips = matches!(event, Event::Arrive(_) | Event::Wake) && self.report.events.is_multiple_of(16);
        let told = if self.drowsy && slips { Moment(now.0.saturating_sub(999_999)) } else { now };
        self.ledger.note(told, &event);
        self.core.handle(told, event, &mut decisions);
        for decision in &decisions {
            self.ledger.book(decision);
            self.carry_out(now, decision);
        }
        self.digest.add(told, &decisions);
        self.ledger.hear(&self.core.view());
        self.judge(false)
    }

    fn carry_out(&mut self, now: Moment, decision: &Decision) {
        match decision {
            Decision::Start { ticket, backend, .. } => {
                self.report.ran.push(Ran { ticket: *ticket, backend: *backend, start: now });
                let Some(request) = self.requests.get(ticket).cloned() else { return };
                let mood = self.moods.get(backend).copied().unwrap_or_default();
                let reaches = request.fate != Fate::Unsent && !matches!(mood, Mood::Deaf | Mood::Gone);
                self.engines.start(*ticket, *backend, reaches, now);
                if let Some((fault, sent)) =
                    mood.fault(*ticket, *backend).filter(|_| request.fate != Fate::Unsent)
                {
                    let after = Span(request.service.0 / 3 + 1);
                    return self.plan(now + after, Happening::Fail(*ticket, fault, sent));
                }
                let (after, outcome) = match request.fate {
                    Fate::Fails(after) if after < request.service => (after, Outcome::Failed),
                    Fate::Unsent => (Span(1), Outcome::Unsent),
                    _ if mood == Mood::Slow => (Span(request.service.0 * 10), Outcome::Done),
                    _ => (request.service, Outcome::Done),
                };
                self.plan(now + Span(after.0 / 2), Happening::FirstToken(*ticket));
                self.plan(now + after, Happening::End(*ticket, outcome));
            }
            Decision::Refuse { why, .. } => {
                let name = format!("{why:?}");
                let name = match why {
                    Refusal::Exhausted { budget: true, .. } => "Spent",
                    _ => name.split(' ').next().unwrap_or_default(),
                };
                *self.report.refused.entry(name.to_owned()).or_default() += 1;
            }
        }
    }

    fn judge(&self, quiet: bool) -> Result<(), Broken> {
        let view = self.core.view();
        let working = |backend| self.engines.working(backend, self.ledger.now());
        let step = Step { view: &view, next_wake: self.core.next_wake(), working: &working, quiet };
        for law in self.laws {
            (law.holds)(&self.ledger, &step).map_err(|why| Broken {
                law: law.name,
                why,
                events: self.report.events,
            })?;
        }
        Ok(())
    }
}
