//! What happens at a data plane, and what is to be done about it.

use std::sync::Arc;

use crate::permit::{Down, Permit, PlaneId, Term, Up, Wants};
use crate::{BackendId, Digest, Fault, Moment, Outcome, Refusal, Span, TicketId, Usage};

/// What happened at a data plane. What names an unknown ticket or an earlier stream is ignored.
#[derive(Clone, Debug)]
pub enum Event {
    /// The control plane's picture, each no older than the one before.
    Picture {
        /// Who leads by which term; `None`: nobody was appointed yet.
        lead: Option<(PlaneId, Term)>,
    },
    /// The stream that `Act::Connect` asked for is there.
    Up {
        /// Its number.
        attempt: u64,
    },
    /// A stream is gone, or did not come about.
    Lost {
        /// Its number.
        attempt: u64,
    },
    /// The lead says something.
    Heard {
        /// By which stream.
        attempt: u64,
        /// What.
        message: Down,
    },
    /// A request came in. Its number was not used before.
    Arrive {
        /// Which.
        ticket: TicketId,
        /// What it wants.
        wants: Arc<Wants>,
        /// When it came, which may be earlier.
        since: Moment,
        /// When waiting ends; the shell says `Cancel` then.
        deadline: Moment,
        /// Where it may start without asking if a permit is parked there and nobody waits, best first.
        unasked: Vec<BackendId>,
    },
    /// The first content of a running request passed by.
    FirstToken {
        /// Which.
        ticket: TicketId,
    },
    /// A running request ended and its engine has really stopped: the upstream connection is closed, and the time is
    /// over that engines of its kind work on for.
    Closed {
        /// Which.
        ticket: TicketId,
        /// How.
        outcome: Outcome,
        /// What it cost.
        usage: Usage,
    },
    /// An attempt failed before any content and is to be tried again.
    Failed {
        /// Which.
        ticket: TicketId,
        /// How.
        fault: Fault,
        /// Whether anything was sent.
        sent: bool,
        /// The engine may be at work on it still: the slot is busy with this number, not used before, until `Closed` is
        /// said of it.
        cools: Option<TicketId>,
    },
    /// Nobody wants the answer of a waiting request any more.
    Cancel {
        /// Which.
        ticket: TicketId,
    },
    /// How many slots a backend has now; permits above are given back, those of running requests at their end. Zero
    /// for one that left the fleet.
    Limit {
        /// Which.
        backend: BackendId,
        /// So many.
        slots: u32,
    },
    /// The control plane answered what this data plane told it.
    Contact {
        /// When that was told.
        sent: Moment,
    },
    /// Silence of the control plane for this long counts as death there; `None`: it never does.
    Silence(Option<Span>),
    /// The control plane has this process for dead.
    Fenced,
    /// The process is about to stop: nothing starts unasked, who waits may still be granted a permit, and permits go back
    /// as their requests end.
    Leave,
    /// A request runs already: this process was the only data plane, and asked nobody. Said before it has a lead.
    Runs {
        /// Which.
        ticket: TicketId,
        /// Where.
        permit: Permit,
        /// What it wanted.
        wants: Arc<Wants>,
        /// When its waiting would have ended.
        deadline: Moment,
    },
    /// It has a permit on which nothing runs: this process was the only data plane, and had all. Said before it has a lead.
    Owns {
        /// Which.
        permit: Permit,
    },
    /// The moment that `next_wake` named has come.
    Wake,
}

/// What is to be done at a data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Opens a stream to the lead; earlier ones end. A lead in the same process is reached at once and never lost.
    Connect {
        /// Who leads.
        lead: PlaneId,
        /// The number of the stream.
        attempt: u64,
    },
    /// Ends the stream.
    Disconnect,
    /// Says something by the current stream.
    Send(Up),
    /// Sends the request to the backend now.
    Start {
        /// Which.
        ticket: TicketId,
        /// Where.
        permit: Permit,
    },
    /// Tells the scheduler of this data plane what a request of another one left behind.
    Learn(Box<Digest>),
    /// Tells the client no.
    Refuse {
        /// Which.
        ticket: TicketId,
        /// The reason.
        why: Refusal,
    },
    /// Ends the running request at once, and says `Closed` when it has.
    Abort {
        /// Which.
        ticket: TicketId,
    },
}
