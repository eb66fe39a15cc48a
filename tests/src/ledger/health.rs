//! The breaker of a backend once more: from the list of its outcomes, as simple as can be.

use sched::{Breaker, BreakerState, Cause, Fault, Moment, Span, TicketId};

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
    /// How often it opened.
    pub era: u32,
    /// Until when the server wants to be left alone.
    pub limited: Option<Moment>,
    /// How long it rests by the book when it opened with the last event, and how long the core says.
    pub opened: Option<(Span, Span)>,
    /// Whether a second request came to a trial with the last event.
    pub crowded: bool,
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
            outcomes: Vec::new(),
            level: 0,
            beyond: Span::ZERO,
            cause: None,
        }
    }
}

impl Health {
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

    /// The control plane saw it come back.
    pub fn vouch(&mut self) {
        if matches!(self.stand, Stand::Open(_)) {
            self.stand = Stand::Trial(None);
        }
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
