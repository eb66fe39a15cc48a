//! The deadlines of one exchange with a backend, watched by one timer that is set anew only when it fires.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Tokens a second at which a prompt is taken to be read where nothing is measured.
const PREFILL_TPS_PRIOR: u32 = 20;
/// A backend may be so many times slower than it was measured.
const PREFILL_MARGIN: u32 = 4;
/// No backend is taken to read slower, in tokens a second.
const PREFILL_TPS_MIN: u32 = 5;
/// Nor faster: prompts that a cache held make it look so.
const PREFILL_TPS_MAX: u32 = 250;
/// Tokens a second at which an answer in one piece is taken to be written.
const DECODE_TPS: u32 = 5;
/// Tokens of an answer in one piece that may have as many as it likes.
const OUTPUT_GUESS: u32 = 2048;
/// A timer that is set already may fire late by one part in so many of what it watches.
const SLACK: u32 = 8;

/// How long a backend may take over a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Connecting, TLS included.
    pub connect: Duration,
    /// To the first content, for an empty prompt.
    pub first_token: Duration,
    /// Between any two bytes after the first content.
    pub between_tokens: Duration,
    /// From the first sending to the last byte, over all tries.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(300),
            between_tokens: Duration::from_secs(300),
            total: Duration::from_secs(2 * 3600),
        }
    }
}

/// How much time a request has.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// Of its route.
    pub deadlines: Deadlines,
    /// When its first try began.
    pub began: Instant,
}

/// What the first content has to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Burden {
    /// Of the prompt, estimated.
    pub prompt_tokens: u32,
    /// At which the backend reads prompts to this model, in tokens a second, where measured.
    pub prefill_tps: Option<u32>,
    /// The most tokens of an answer whose first is seen with its last; none where each is seen.
    pub whole: Option<Option<u32>>,
}

impl Burden {
    /// What comes on top of the deadline for the first token.
    fn extra(&self) -> Duration {
        let measured = |tps: u32| (tps / PREFILL_MARGIN).clamp(PREFILL_TPS_MIN, PREFILL_TPS_MAX);
        let prefill_tps = self.prefill_tps.map_or(PREFILL_TPS_PRIOR, measured);
        let output = self.whole.map_or(0, |max| max.unwrap_or(OUTPUT_GUESS));
        let part = |tokens: u32, tps: u32| Duration::from_millis(u64::from(tokens) * 1000 / u64::from(tps));
        part(self.prompt_tokens, prefill_tps) + part(output, DECODE_TPS)
    }
}

/// Names of the deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// For a connection.
    Connect,
    /// For the first content.
    FirstToken,
    /// For the next bytes.
    BetweenTokens,
    /// For the last byte.
    Total,
}

impl Name {
    const fn words(self) -> &'static str {
        match self {
            Name::Connect => "connect",
            Name::FirstToken => "first token",
            Name::BetweenTokens => "between tokens",
            Name::Total => "total",
        }
    }
}

/// A deadline that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Which.
    pub name: Name,
    /// As long as it was.
    pub of: Duration,
    /// Of which came on top of what the route says.
    pub extra: Duration,
}

impl Passed {
    /// The one for a connection.
    #[must_use]
    pub const fn connect(of: Duration) -> Self {
        Self { name: Name::Connect, of, extra: Duration::ZERO }
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} deadline of {} s", self.name.words(), seconds(self.of))?;
        if !self.extra.is_zero() {
            let base = self.of.saturating_sub(self.extra);
            write!(f, " ({} s and {} s for the length of the request)", seconds(base), seconds(self.extra))?;
        }
        Ok(())
    }
}

/// In tenths from ten on, else in milliseconds, without idle zeros.
fn seconds(of: Duration) -> String {
    let text = match of.as_secs() {
        0..10 => format!("{}.{:03}", of.as_secs(), of.subsec_millis()),
        secs => format!("{secs}.{}", of.subsec_millis() / 100),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The one timer of a client's connection, whatever is waited for: made when something must be, kept from request to
/// request, and set anew only when it fires or would fire much too late. All who wait on it do so in one task.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<Mutex<Option<Pin<Box<Sleep>>>>>);

impl Alarm {
    /// Ready when `due` has passed, and no later than `slack` after it.
    pub fn poll(&self, cx: &mut Context<'_>, due: Instant, slack: Duration) -> Poll<()> {
        let mut timer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due + slack {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(Future::poll(timer.as_mut(), cx));
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

/// Watches one exchange, from its sending to its last byte.
#[derive(Debug)]
pub struct Watch {
    time: Time,
    sent: Instant,
    extra: Duration,
    /// When the last bytes came; none before the first content.
    heard: Option<Instant>,
    alarm: Alarm,
}

impl Watch {
    /// An exchange that begins now.
    #[must_use]
    pub fn new(time: Time, burden: &Burden, alarm: Alarm) -> Self {
        Self { time, sent: Instant::now(), extra: burden.extra(), heard: None, alarm }
    }

    /// Bytes came, the first content or what follows it.
    pub fn heard(&mut self) {
        self.heard = Some(Instant::now());
    }

    /// Whether a server that sent its last bytes `at` lives: it would not have passed the deadline between tokens.
    #[must_use]
    pub fn lives(&self, at: Option<Instant>) -> bool {
        at.is_some_and(|at| at.elapsed() < self.time.deadlines.between_tokens)
    }

    /// Ready when a deadline has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Passed> {
        let (due, passed) = self.next();
        self.alarm.poll(cx, due, passed.of / SLACK).map(|()| passed)
    }

    /// The deadline that passes first, if nothing is heard.
    fn next(&self) -> (Instant, Passed) {
        let Deadlines { first_token, between_tokens, total, .. } = self.time.deadlines;
        let (from, name, of, extra) = match self.heard {
            None => (self.sent, Name::FirstToken, first_token + self.extra, self.extra),
            Some(heard) => (heard, Name::BetweenTokens, between_tokens, Duration::ZERO),
        };
        let (due, end) = (from + of, self.time.began + total);
        match end < due {
            true => (end, Passed { name: Name::Total, of: total, extra: Duration::ZERO }),
            false => (due, Passed { name, of, extra }),
        }
    }
}

#[cfg(test)]
mod tests;
