//! The ownership of slots by data planes: names, messages between an owner and the lead, and their bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    Arrival, Asked, BackendId, Candidate, Chain, Class, Digest, Fault, Key, Moment, Outcome, Policy, Refusal,
    SlotId, Span, TicketId, Usage,
};

/// Permits that one data plane holds at most; a grant beyond them is returned.
pub const HELD_MAX: usize = 65_536;
/// Tickets that wait at one data plane at most, and of all data planes at the lead.
pub const OPEN_MAX: usize = 65_536;
/// Data planes that one lead knows at most; the control plane registers no more.
pub const MEMBERS_MAX: usize = 256;
/// Entries of a `Line` at most. A data plane that ends more requests than this within a round trip gives the permits
/// of the others back, which costs that round trip and nothing else.
pub const LINE_MAX: usize = 16;
/// Blocks of a prompt that a ticket carries at most: some 3 KB, and beyond them few conversations differ.
pub const TICKET_BLOCKS_MAX: usize = 256;
/// Candidates that a ticket carries at most; those behind are not taken.
pub const TICKET_CANDIDATES_MAX: usize = 256;
/// A permit that nobody wants goes back to its last user after this. Shorter, it would travel to and fro between the
/// requests of a busy minute; longer, more of them would stand still if the lead died.
pub const PARK_AFTER: Span = Span::from_millis(100);
/// What digests may cost each data plane that follows, in bytes a second, and what one is taken to be on the wire.
pub const DIGEST_BYTES_PER_SECOND: u64 = 65_536;
/// See `DIGEST_BYTES_PER_SECOND`.
pub const DIGEST_BYTES: u64 = 144;
/// Digests that wait to be told; at one more, the oldest is left out.
pub const DIGESTS_WAITING_MAX: usize = 256;
/// Where silence is taken as death, a data plane ends its work so long before: for its clock, which may run slower, and
/// for the engines, which must have stopped.
pub const SILENCE_MARGIN: Span = Span::from_secs(2);

/// One data plane, by a number that the shell keeps while the name is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaneId(pub u32);

/// One process of a data plane: counted durably at each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// One appointment of a lead: drawn durably by the control plane, each greater than all before. Zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// A process of a data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Which data plane.
    pub plane: PlaneId,
    /// Which of its processes.
    pub incarnation: Incarnation,
}

/// The data planes that the control plane holds for alive: each registered durably, and not proven dead.
pub type Roll = BTreeMap<PlaneId, Incarnation>;

/// The ownership of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permit {
    /// Of which backend.
    pub backend: BackendId,
    /// Which of its slots.
    pub slot: SlotId,
}

/// What is to be known of a request where it is decided who runs next. Cheap to share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Whose it is.
    pub key: Key,
    /// See `Arrival::weight`.
    pub weight: u16,
    /// How urgent it is.
    pub class: Class,
    /// The estimated length of the prompt in tokens.
    pub prompt_tokens: u32,
    /// See `Arrival::asked`.
    pub asked: Asked,
    /// The prompt in blocks, at most `TICKET_BLOCKS_MAX` on the wire.
    pub prompt: Chain,
    /// By which rule it is placed.
    pub policy: Policy,
    /// Where it may run, at most `TICKET_CANDIDATES_MAX` on the wire.
    pub candidates: Box<[Candidate]>,
}

impl Wants {
    /// Of what runs and is no request any more.
    pub fn nothing() -> Self {
        Wants {
            key: Key(0),
            weight: 1,
            class: Class::Batch,
            prompt_tokens: 0,
            asked: Asked(0),
            prompt: Chain::default(),
            policy: Policy::Priority,
            candidates: Box::default(),
        }
    }
}

/// A request that waits, as its data plane tells the lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its number at the data plane.
    pub id: TicketId,
    /// For how long it has waited: arrival order needs no clocks that agree.
    pub age: Span,
    /// For how long it will wait from now on.
    pub patience: Span,
    /// What it wants.
    pub wants: Arc<Wants>,
    /// Backends that failed it, at most `TRIES_MAX`.
    pub tried: Vec<BackendId>,
}

impl Wants {
    /// As the scheduling core is told of it, under this number.
    pub fn arrival(&self, number: TicketId, deadline: Moment) -> Arrival {
        Arrival {
            ticket: number,
            key: self.key,
            weight: self.weight,
            class: self.class,
            prompt_tokens: self.prompt_tokens,
            prompt: self.prompt.clone(),
            policy: self.policy,
            candidates: self.candidates.clone(),
            asked: self.asked,
            deadline,
        }
    }
}

impl Ticket {
    /// As the scheduling core is told of it at `now`, under a number of the lead.
    pub fn arrival(&self, number: TicketId, now: Moment) -> Arrival {
        self.wants.arrival(number, now + self.patience)
    }
}

/// A permit in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Which one.
    pub permit: Permit,
    /// What runs on it; `None`: it is parked.
    pub running: Option<(TicketId, Arc<Wants>)>,
}

/// What becomes of a permit when its request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays, idle.
    Park,
    /// It goes back to the lead.
    Release,
    /// This waiting ticket of the same data plane runs on it now.
    Next(TicketId),
}

/// What a data plane tells the lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// The first word of each stream.
    Hello {
        /// Who speaks.
        member: Member,
        /// The greatest term that it has heard of.
        heard: Term,
        /// The number of this stream at the data plane; a later one makes earlier ones void.
        attempt: u64,
    },
    /// All that it holds, at most `HELD_MAX`. Sent once a stream, behind the welcome whose term it has adopted; all of
    /// its waiting tickets follow.
    Report {
        /// Every permit that it holds.
        held: Vec<Holding>,
    },
    /// A request waits.
    Ticket(Ticket),
    /// A request runs: as it was granted, or unasked on a parked permit.
    Started {
        /// Where.
        permit: Permit,
        /// Which.
        ticket: TicketId,
        /// Of one that the lead has not heard of.
        wants: Option<Arc<Wants>>,
    },
    /// The first content of a running request passed by.
    FirstToken {
        /// Which.
        ticket: TicketId,
    },
    /// A request ended, and its engine has really stopped.
    Done {
        /// Where.
        permit: Permit,
        /// Which.
        ticket: TicketId,
        /// How.
        outcome: Outcome,
        /// What it cost.
        usage: Usage,
        /// What becomes of the permit.
        then: Then,
    },
    /// An attempt failed before any content, and its engine has really stopped: the ticket waits again.
    Failed {
        /// Where.
        permit: Permit,
        /// Which.
        ticket: TicketId,
        /// How.
        fault: Fault,
        /// Whether anything was sent.
        sent: bool,
        /// What becomes of the permit.
        then: Then,
    },
    /// An idle permit goes back to the lead.
    Release {
        /// Which.
        permit: Permit,
    },
    /// A waiting ticket is no more.
    Cancel {
        /// Which.
        ticket: TicketId,
    },
}

/// What the lead tells a data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// The answer to a hello.
    Welcome {
        /// Of this lead.
        term: Term,
    },
    /// A free permit changes hands, for this ticket. Is that gone or started meanwhile, the permit is for the next that the
    /// line names of the same data plane; where it names none, it is returned.
    Grant {
        /// Of this lead.
        term: Term,
        /// Which.
        permit: Permit,
        /// For whom.
        ticket: TicketId,
    },
    /// A free permit changes hands, to lie idle where it was used last.
    Park {
        /// Of this lead.
        term: Term,
        /// Which.
        permit: Permit,
    },
    /// A ticket is to run on a permit that lies idle at the data plane. No change of hands: void where it is gone or busy.
    Next {
        /// Which.
        permit: Permit,
        /// For whom.
        ticket: TicketId,
    },
    /// Who is next at a backend, for permits that come free at the data plane.
    Line {
        /// Where.
        backend: BackendId,
        /// In order, at most `LINE_MAX`: its own tickets by number, others' as `None`.
        next: Vec<Option<TicketId>>,
        /// Somebody waits for the backend, or a slot of it is kept: nothing starts there unasked.
        contended: bool,
    },
    /// A permit is wanted back: at once when it is idle, else when its request has ended.
    Revoke {
        /// Which.
        permit: Permit,
    },
    /// What a request of another data plane left behind, so that any can lead. May be left out.
    Digest(Box<Digest>),
    /// A waiting ticket will not be served.
    Refuse {
        /// Which.
        ticket: TicketId,
        /// The reason.
        why: Refusal,
    },
}

/// A rule that is left out, to show that the laws miss it. Only tests can ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// A new lead grants at once and asks nobody what he holds.
    NoLearning,
    /// What a data plane holds is free when its stream breaks.
    ReclaimOnBreak,
    /// A permit is given back while its request runs.
    ReleaseWhileBusy,
    /// A lead takes in whom no picture of its term names: the row may not be durable yet.
    LateRow,
    /// What comes by an earlier stream counts.
    OldStreams,
    /// A lead takes in whom a picture of a later term names, which another leads.
    Unfenced,
    /// A lead takes the word of a picture of a later term that somebody is dead. What that one had may have moved on by
    /// the later term, to somebody else.
    LateProof,
    /// Earlier terms are heard.
    NoTermCheck,
    /// The report goes with the hello, not behind the welcome.
    EarlyReport,
}

/// The flaw that is planted; without the feature there is none, and asking costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted(pub(crate) Option<Flaw>);

impl Planted {
    pub(crate) fn is(self, flaw: Flaw) -> bool {
        cfg!(feature = "flaws") && self.0 == Some(flaw)
    }
}
