//! The breaker of a backend once more: from the list of its outcomes, as simple as can be.

use sched::{Backend, Breaker, BreakerState, Cause, Fault, Moment, Span, TicketId};

/// Whether anything may start on a backend, as far as its breaker has no say.
pub fn up(backend: &Backend) -> bool {
    backend.health != sched::Health::Unhealthy && !backend.draining
}

/// What a breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It lets all through, since then.
    Closed(Moment),
    /// It lets nothing through until then; the end is `NEVER` until the core has told it.
    Open(Moment),
    /// It lets one through, and that is this one.
    Trial(Option<TicketId>),
}

/// What is known of one backend by its outcomes.
#[derive(Clone, Debug)]
pub struct Health {
    /// What its breaker does.
    pub stand: Stand,
    /// How often it opened or was doubted.
    pub era: u32,
    /// Until when the server wants to be left alone.
    pub limited: Option<Moment>,
    /// How long it rests by the book when it opened with the last event, and how long the core says.
    pub opened: Option<(Span, Span)>,
    /// Whether a second request came to a trial with the last event.
    pub crowded: bool,
    /// What probes said last, and what they said last when they knew.
    said: (sched::Health, sched::Health),
    outcomes: Vec<(Moment, bool)>,
    level: u32,
    /// How much longer it would rest had not a connection been refused.
    beyond: Span,
    cause: Option<Cause>,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            stand: Stand::Closed(Moment::default()),
            era: 0,
            limited: None,
            opened: None,
            crowded: false,
            said: Default::default(),
            outcomes: Vec::new(),
            level: 0,
            beyond: Span::ZERO,
            cause: None,
        }
    }
}

impl Health {
    /// Nothing is known but what probes say.
    pub fn of(said: sched::Health) -> Self {
        Health { said: (said, said), ..Health::default() }
    }

    /// Time has come to this moment.
    pub fn pass(&mut self, now: Moment) {
        self.opened = None;
        self.crowded = false;
        if matches!(self.stand, Stand::Open(until) if until <= now) {
            self.stand = Stand::Trial(None);
        }
        if self.limited.is_some_and(|until| until <= now) {
            self.limited = None;
        }
    }

    /// How many of so many vacant slots may be taken.
    pub fn admits(&self, vacant: usize) -> usize {
        match self.stand {
            Stand::Closed(_) if self.limited.is_none() => vacant,
            Stand::Trial(None) if self.limited.is_none() => vacant.min(1),
            _ => 0,
        }
    }

    /// Until when one would wait who believes in nothing but how often it failed.
    pub fn hopes_until(&self) -> Option<Moment> {
        match self.stand {
            Stand::Open(until) => Some(until + self.beyond).max(self.limited),
            _ => self.limited,
        }
    }

    /// Until when nothing may start, if something hinders it.
    pub fn rests_until(&self) -> Option<Moment> {
        match self.stand {
            Stand::Open(until) => Some(until).max(self.limited),
            _ => self.limited,
        }
    }

    /// When something ends by itself.
    pub fn ends(&self) -> Option<Moment> {
        match self.stand {
            Stand::Open(until) => Some(self.limited.map_or(until, |limited| limited.min(until))),
            _ => self.limited,
        }
    }

    /// A request starts.
    pub fn start(&mut self, ticket: TicketId) {
        if let Stand::Trial(running) = &mut self.stand {
            self.crowded |= running.is_some();
            *running = Some(ticket);
        }
    }

    /// A request that started in an era was answered.
    pub fn succeed(&mut self, era: u32, now: Moment) {
        match self.stand {
            Stand::Trial(_) if era == self.era => self.stand = Stand::Closed(now),
            Stand::Closed(_) if era == self.era => self.outcomes.push((now, false)),
            _ => {}
        }
    }

    /// A request that started in an era failed.
    pub fn fail(&mut self, era: u32, now: Moment, cause: Cause) {
        if era != self.era {
            return;
        }
        self.cause = Some(cause);
        match self.stand {
            Stand::Trial(_) => self.open(self.level + 1),
            Stand::Closed(since) => {
                self.outcomes.push((now, true));
                let five = self.outcomes.iter().rev().take(5).filter(|(_, failed)| *failed).count() == 5;
                let last = self.outcomes.iter().rev().take(20);
                let recent: Vec<_> = last.filter(|(at, _)| at.0 + 30_000_000 >= now.0).collect();
                let failures = recent.iter().filter(|(_, failed)| *failed).count();
                let deaf = matches!(cause, Cause::Fault(Fault::Connect | Fault::Refused));
                if deaf || five || recent.len() >= 10 && failures * 2 >= recent.len() {
                    let long = now.0 - since.0 >= 60_000_000;
                    self.open(if self.era == 0 || long { 0 } else { self.level + 1 });
                }
            }
            Stand::Open(_) => {}
        }
    }

    /// A request ended, and nothing follows from it.
    pub fn let_go(&mut self, ticket: TicketId) {
        if self.stand == Stand::Trial(Some(ticket)) {
            self.stand = Stand::Trial(None);
        }
    }

    /// The server wants to be left alone.
    pub fn limit(&mut self, until: Moment, cause: Cause) {
        self.limited = self.limited.max(Some(until));
        self.cause = Some(cause);
    }

    /// Probes say so now: one that came back need not rest, and one of which nobody says any more that it is down is
    /// tried with one request.
    pub fn probed(&mut self, now: sched::Health) {
        use sched::Health::{Healthy, Unhealthy, Unknown};
        let (before, known) = self.said;
        match (self.stand, now) {
            (Stand::Open(_), Healthy) if known == Unhealthy => self.stand = Stand::Trial(None),
            (Stand::Closed(_), Unknown) if before == Unhealthy => {
                (self.stand, self.level) = (Stand::Trial(None), 0);
                self.era += 1;
            }
            _ => {}
        }
        self.said = (now, if now == Unknown { known } else { now });
    }

    /// Takes the end of a rest from the core, which alone knows its chance.
    pub fn hear(&mut self, now: Moment, said: &Breaker) {
        if self.stand == Stand::Open(Moment::NEVER) {
            self.stand = Stand::Open(now + said.rest);
            let seconds = [1, 2, 4, 8, 16, 32].get(self.level as usize).copied().unwrap_or(60);
            let refused = self.cause == Some(Cause::Fault(Fault::Refused));
            let rest = if refused { seconds.min(4) } else { seconds };
            self.beyond = Span::from_secs(seconds - rest);
            self.opened = Some((Span::from_secs(rest), said.rest));
        }
    }

    /// What the core should say of it.
    pub fn view(&self, now: Moment) -> Breaker {
        let (state, rest) = match self.stand {
            Stand::Closed(_) => (BreakerState::Closed, Span::ZERO),
            Stand::Open(until) => (BreakerState::Open, until - now),
            Stand::Trial(_) => (BreakerState::Trial, Span::ZERO),
        };
        let limited = self.limited.map_or(Span::ZERO, |until| until - now);
        Breaker { state, rest, limited, cause: self.cause }
    }

    fn open(&mut self, level: u32) {
        self.level = level;
        self.era += 1;
        self.outcomes.clear();
        self.stand = Stand::Open(Moment::NEVER);
    }
}
