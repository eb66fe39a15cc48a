//! How a virtual server answers what comes to it.

use sched::{BackendId, Fault, Span, TicketId};

/// The mood of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Well,
    /// It takes ten times as long.
    Slow,
    /// No connection comes about.
    Deaf,
    /// Nobody listens.
    Gone,
    /// It takes requests, works on them and drops the connection.
    Drops,
    /// It takes requests, works on them and says nothing.
    Hangs,
    /// It takes requests and works on them for longer than anybody waits, but says that it lives.
    Crawls,
    /// It answers with a status of its own fault.
    Errs,
    /// It begins with an error what should be a stream.
    Babbles,
    /// It fails on two requests of five, in turn, which opens no breaker.
    Shaky,
    /// It asks to be left alone.
    Limits(Option<Span>),
}

impl Mood {
    /// How the attempt of a ticket fails on a backend, and whether the engine works on it, when it does.
    pub fn fault(self, ticket: TicketId, backend: BackendId) -> Option<(Fault, bool)> {
        match self {
            Mood::Well | Mood::Slow => None,
            Mood::Shaky => ((ticket.0 + u64::from(backend.0)) % 5 < 2).then_some((Fault::Status, false)),
            Mood::Gone => Some((Fault::Refused, false)),
            Mood::Deaf => Some((Fault::Connect, false)),
            Mood::Drops => Some((Fault::Reset, true)),
            Mood::Hangs => Some((Fault::Timeout, true)),
            Mood::Crawls => Some((Fault::Slow, true)),
            Mood::Errs => Some((Fault::Status, false)),
            Mood::Babbles => Some((Fault::Answer, false)),
            Mood::Limits(retry_after) => Some((Fault::Limited { retry_after }, false)),
        }
    }
}
