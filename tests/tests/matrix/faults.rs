//! The faults by the names that the table gives them.

use std::time::Duration;

use llmsim::{Fault, Settings};
use proto::v1;

/// A way to fail.
pub struct Named {
    pub name: &'static str,
    pub fault: Fault,
    pub case: Case,
}

/// What else a fault needs to be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Usual,
    /// Answers are longer than what is held back of one.
    Long,
    /// The server is slow, and its deadlines are as ever.
    Slow,
    /// Deadlines are short.
    Hasty,
    /// The request may be on its way or not when it strikes.
    Races,
}

fn named(name: &'static str, fault: Fault) -> Named {
    of(Case::Usual, name, fault)
}

fn of(case: Case, name: &'static str, fault: Fault) -> Named {
    Named { name, fault, case }
}

fn status(code: u16, retry_after: Option<u32>) -> Fault {
    Fault::Status { code, retry_after }
}

/// All of them. Two tokens are two elements with content.
pub fn all() -> Vec<Named> {
    vec![
        named("refuses connections", Fault::Refuse),
        of(Case::Races, "resets connections", Fault::ResetAtAccept),
        of(Case::Hasty, "takes no connection", Fault::Deaf),
        of(Case::Hasty, "reads nothing", Fault::HalfOpen),
        of(Case::Hasty, "silent before the head", Fault::Stall),
        of(Case::Hasty, "silent after the head", Fault::StallAfterHeaders),
        of(Case::Hasty, "silent in the answer", Fault::StallMidStream { after: 2 }),
        of(Case::Slow, "slow tokens, in time", Fault::SlowStart(Duration::from_millis(1))),
        named("resets before the head", Fault::Reset),
        named("dies in the answer", Fault::DieMidStream { after: 2 }),
        named("ends early, cleanly", Fault::Truncate { after: 2 }),
        named("no JSON", Fault::BadJson),
        named("no JSON behind content", Fault::Garbage { after: 2 }),
        named("an error as first element", Fault::ErrorFirst),
        named("an error behind content", Fault::ErrorMidStream { after: 2 }),
        named("length too long", Fault::WrongLength),
        of(Case::Long, "length too long, 300 KB", Fault::WrongLength),
        named("length too short", Fault::ShortLength),
        named("bytes behind the answer", Fault::Trailing),
        named("redirects", Fault::Redirect),
        named("a page of HTML", Fault::Html),
        named("400", status(400, None)),
        named("401", status(401, None)),
        named("429", status(429, None)),
        named("429, retry-after: 3", status(429, Some(3))),
        named("500", status(500, None)),
        named("503", status(503, None)),
        named("529", status(529, None)),
        named("slow start, in time", Fault::SlowStart(Duration::from_millis(300))),
    ]
}

impl Named {
    /// The server that fails so.
    pub fn settings(&self) -> Settings {
        Settings {
            slots: 1024,
            prefill_tps: 0.0,
            decode_tps: if self.case == Case::Slow { 10.0 } else { 0.0 },
            output_tokens: self.tokens(),
            context_length: u32::MAX,
            ..Settings::default()
        }
    }

    /// Of a whole answer.
    pub fn tokens(&self) -> u32 {
        match self.case {
            Case::Long => 60_000,
            Case::Hasty => 3,
            Case::Slow => 8,
            Case::Usual | Case::Races => 40,
        }
    }

    /// Of the answer at most, as the request says it: an answer in one piece has time for so many.
    pub fn tokens_max(&self) -> u32 {
        if self.case == Case::Hasty { 4 } else { 100_000 }
    }

    /// Those of all routes; long enough for a server that does not fail on a machine that is busy.
    pub fn deadlines(&self) -> Option<v1::Deadlines> {
        (self.case == Case::Hasty).then(|| v1::Deadlines {
            connect: Some(proto::span(700)),
            first_token: Some(proto::span(1500)),
            between_tokens: Some(proto::span(1000)),
            total: None,
        })
    }
}
