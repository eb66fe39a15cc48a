//! The faults by the names that the table gives them.

use std::time::Duration;

use llmsim::{Fault, Settings};

/// A way to fail.
pub struct Named {
    pub name: &'static str,
    pub fault: Fault,
    /// Answers are longer than what is held back of one.
    pub long: bool,
    /// The request may be on its way or not when it strikes.
    pub races: bool,
}

fn named(name: &'static str, fault: Fault) -> Named {
    Named { name, fault, long: false, races: false }
}

fn status(code: u16, retry_after: Option<u32>) -> Fault {
    Fault::Status { code, retry_after }
}

/// All of them. Two tokens are two elements with content.
pub fn all() -> Vec<Named> {
    vec![
        named("refuses connections", Fault::Refuse),
        Named { races: true, ..named("resets connections", Fault::ResetAtAccept) },
        named("resets before the head", Fault::Reset),
        named("dies in the answer", Fault::DieMidStream { after: 2 }),
        named("ends early, cleanly", Fault::Truncate { after: 2 }),
        named("no JSON", Fault::BadJson),
        named("no JSON behind content", Fault::Garbage { after: 2 }),
        named("an error as first element", Fault::ErrorFirst),
        named("an error behind content", Fault::ErrorMidStream { after: 2 }),
        named("length too long", Fault::WrongLength),
        Named { long: true, ..named("length too long, 300 KB", Fault::WrongLength) },
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
            decode_tps: 0.0,
            output_tokens: if self.long { 60_000 } else { 40 },
            context_length: u32::MAX,
            ..Settings::default()
        }
    }
}
