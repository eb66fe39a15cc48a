//! The breaker of one backend: closed, open for a rest that grows, then one trial at a time.

use crate::rng::draw;
use crate::{BackendId, Breaker, BreakerState, Cause, Fault, Moment, Span};

/// So many failures in a row open the breaker; a connection that does not come about opens it at once.
pub const BREAKER_FAILURES: u32 = 5;
/// Of so many last outcomes at least half failed: that opens it too.
pub const BREAKER_WINDOW: usize = 20;
/// Fewer outcomes than this say nothing about a share.
pub const BREAKER_WINDOW_MIN: usize = 10;
/// Outcomes older than this say nothing any more.
pub const BREAKER_WINDOW_AGE: Span = Span::from_secs(30);
/// The first rest; each further one is twice as long.
pub const BREAKER_REST_MIN: Span = Span::from_secs(1);
/// No rest is longer, neither the breaker's nor the one that a server asks for.
pub const BREAKER_REST_MAX: Span = Span::from_secs(60);
/// No rest after a refused connection is longer: that it is still refused is known at once and costs nobody a thing.
pub const REFUSED_REST_MAX: Span = Span::from_secs(4);
/// A rest is up to so much longer or shorter, so that not all backends come back at once.
pub const BREAKER_JITTER_PERCENT: u64 = 20;
/// A breaker that was closed for so long begins with the first rest again.
pub const BREAKER_FORGET: Span = Span::from_secs(60);
/// A request that finds all its backends resting waits when the first rest is over within this time.
pub const BREAKER_WAIT_MAX: Span = Span::from_secs(5);
/// The shortest rest for a server that asks to be left alone, and the rest when it does not say how long.
pub const LIMITED_REST_MIN: Span = Span::from_secs(1);

#[derive(Clone, Copy)]
enum State {
    Closed {
        since: Moment,
    },
    /// `beyond`: how much longer it would rest had not the connection been refused.
    Open {
        until: Moment,
        beyond: Span,
    },
    Trial {
        running: bool,
    },
}

/// When an outcome came and whether it was a failure, for the last `BREAKER_WINDOW`.
#[derive(Default)]
struct Window {
    outcomes: [(Moment, bool); BREAKER_WINDOW],
    next: usize,
    len: usize,
}

impl Window {
    fn push(&mut self, now: Moment, failed: bool) {
        self.outcomes[self.next] = (now, failed);
        self.next = (self.next + 1) % BREAKER_WINDOW;
        self.len = (self.len + 1).min(BREAKER_WINDOW);
    }

    fn half_failed(&self, now: Moment) -> bool {
        let recent = self.outcomes[..self.len].iter().filter(|(at, _)| now.since(*at) <= BREAKER_WINDOW_AGE);
        let (mut all, mut failed) = (0, 0);
        for (_, failure) in recent {
            all += 1;
            failed += usize::from(*failure);
        }
        all >= BREAKER_WINDOW_MIN && 2 * failed >= all
    }
}

/// What is known of a backend by what became of requests.
pub(crate) struct Switch {
    state: State,
    /// How often it opened or was doubted. What started in an earlier era says nothing about this one.
    era: u32,
    in_a_row: u32,
    doublings: u32,
    window: Window,
    limited: Option<Moment>,
    cause: Option<Cause>,
}

impl Switch {
    pub(crate) fn new() -> Switch {
        Switch {
            state: State::Closed { since: Moment::default() },
            era: 0,
            in_a_row: 0,
            doublings: 0,
            window: Window::default(),
            limited: None,
            cause: None,
        }
    }

    /// How many of so many vacant slots may be taken now.
    pub(crate) fn admits(&self, vacant: u32) -> u32 {
        match self.state {
            _ if self.limited.is_some() => 0,
            State::Closed { .. } => vacant,
            State::Trial { running: false } => vacant.min(1),
            State::Trial { running: true } | State::Open { .. } => 0,
        }
    }

    /// A request starts; the answer is the era in which it does.
    pub(crate) fn start(&mut self) -> u32 {
        if let State::Trial { running } = &mut self.state {
            *running = true;
        }
        self.era
    }

    /// A request of that era was answered; whether that closes the breaker.
    pub(crate) fn succeed(&mut self, era: u32, now: Moment) -> bool {
        match self.state {
            State::Trial { .. } if era == self.era => {
                self.state = State::Closed { since: now };
                return true;
            }
            State::Closed { .. } if era == self.era => {
                self.in_a_row = 0;
                self.window.push(now, false);
            }
            _ => {}
        }
        false
    }

    /// A request of that era failed.
    pub(crate) fn fail(&mut self, era: u32, cause: Cause, now: Moment, seed: u64, backend: BackendId) {
        if era != self.era {
            return;
        }
        self.cause = Some(cause);
        match self.state {
            State::Trial { .. } => {
                self.doublings += 1;
                self.open(now, seed, backend);
            }
            State::Closed { since } => {
                self.in_a_row += 1;
                self.window.push(now, true);
                // nobody listens: whoever waits for it would only be refused in turn
                let deaf = matches!(cause, Cause::Fault(Fault::Connect | Fault::Refused));
                if deaf || self.in_a_row >= BREAKER_FAILURES || self.window.half_failed(now) {
                    let forgotten = self.era == 0 || now.since(since) >= BREAKER_FORGET;
                    self.doublings = if forgotten { 0 } else { self.doublings + 1 };
                    self.open(now, seed, backend);
                }
            }
            State::Open { .. } => {}
        }
    }

    /// A request of that era ended and nothing follows from it: the next one is the trial.
    pub(crate) fn pass(&mut self, era: u32) {
        if let State::Trial { running } = &mut self.state
            && era == self.era
        {
            *running = false;
        }
    }

    /// The server asked to be left alone, which is no failure.
    pub(crate) fn limit(&mut self, cause: Cause, until: Moment) {
        self.cause = Some(cause);
        self.limited = self.limited.max(Some(until));
    }

    /// The control plane saw it come back: no use in resting on.
    pub(crate) fn vouch(&mut self) {
        if matches!(self.state, State::Open { .. }) {
            self.state = State::Trial { running: false };
        }
    }

    /// Nobody says any more that it is down, and nobody that it is well: one request finds out.
    pub(crate) fn doubt(&mut self) {
        if matches!(self.state, State::Closed { .. }) {
            // what runs there since before says nothing about this
            self.era += 1;
            self.doublings = 0;
            self.state = State::Trial { running: false };
        }
    }

    /// Ends the rests whose end has come.
    pub(crate) fn rested(&mut self, now: Moment) {
        self.limited = self.limited.filter(|until| *until > now);
        if let State::Open { until, .. } = self.state
            && until <= now
        {
            self.state = State::Trial { running: false };
        }
    }

    /// When `rested` must be called next.
    pub(crate) fn alarm(&self) -> Option<Moment> {
        [self.open_until(), self.limited].into_iter().flatten().min()
    }

    /// When it may be tried again; `None` when nothing rests.
    pub(crate) fn rests_until(&self) -> Option<Moment> {
        self.open_until().max(self.limited)
    }

    /// Whether it rests.
    pub(crate) fn rests(&self) -> bool {
        self.limited.is_some() || matches!(self.state, State::Open { .. })
    }

    /// As `rests_until`, with each rest as long as its failures in a row make it: what one may wait for.
    pub(crate) fn hopes_until(&self) -> Option<Moment> {
        let open = match self.state {
            State::Open { until, beyond } => Some(until + beyond),
            State::Closed { .. } | State::Trial { .. } => None,
        };
        open.max(self.limited)
    }

    pub(crate) fn view(&self, now: Moment) -> Breaker {
        let state = match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Trial { .. } => BreakerState::Trial,
        };
        let rest = |until: Option<Moment>| until.map_or(Span::ZERO, |until| until.since(now));
        Breaker { state, rest: rest(self.open_until()), limited: rest(self.limited), cause: self.cause }
    }

    fn open_until(&self) -> Option<Moment> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Closed { .. } | State::Trial { .. } => None,
        }
    }

    fn open(&mut self, now: Moment, seed: u64, backend: BackendId) {
        self.era += 1;
        self.in_a_row = 0;
        self.window = Window::default();
        let due = (BREAKER_REST_MIN.0 << self.doublings.min(6)).min(BREAKER_REST_MAX.0);
        let refused = self.cause == Some(Cause::Fault(Fault::Refused));
        let rest = if refused { due.min(REFUSED_REST_MAX.0) } else { due };
        let beyond = Span(due - rest);
        let spread = rest * BREAKER_JITTER_PERCENT / 100;
        // counted from the end, away from the numbers of tickets
        let chance = draw(seed, u64::MAX - u64::from(self.era), u64::from(backend.0));
        let rest = rest - spread + chance % (2 * spread + 1);
        self.state = State::Open { until: now + Span(rest.min(BREAKER_REST_MAX.0)), beyond };
    }
}
