//! The lead's end of the permit protocol: who holds which permit by one term, and to whom each goes next.

use std::collections::{BTreeMap, BTreeSet};

mod books;
mod digests;
mod members;
mod order;
mod permits;
mod settle;
mod tell;

use crate::permit::{Down, Flaw, Member, Permit, PlaneId, Planted, Roll, Term, Up};
use crate::{BackendId, Moment, TicketId};
use books::{Books, Place};
use digests::Digests;
use members::Members;
pub use order::{Order, Verdict};
use permits::Stock;

pub use crate::permit::Ticket;

/// Tickets of the data plane that leads keep their numbers; those of others are drawn from here on.
pub const DRAWN_FROM: u64 = 1 << 63;

/// A stream by its number at the lead, not used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What happened at the lead.
#[derive(Clone, Debug)]
pub enum Event {
    /// A data plane says something.
    Heard {
        /// By which stream.
        stream: StreamId,
        /// What.
        message: Up,
    },
    /// A stream is gone.
    Closed {
        /// Which.
        stream: StreamId,
    },
    /// The control plane's picture, each no older than the one before. Who stood in an earlier one and does not in this,
    /// or by a later incarnation, is proven dead.
    Picture {
        /// The term that it names.
        term: Term,
        /// Who is registered.
        roll: Roll,
    },
    /// How many slots a backend has now; zero for one that left the fleet.
    Limit {
        /// Which.
        backend: BackendId,
        /// So many.
        slots: u32,
    },
    /// The moment that `next_wake` named has come.
    Wake,
}

/// What is to be done at the lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Says something to a data plane.
    Send {
        /// By which stream.
        stream: StreamId,
        /// What.
        message: Down,
    },
    /// Ends a stream.
    Close {
        /// Which.
        stream: StreamId,
    },
    /// There is a later term: this lead has ended. All its streams are to be closed.
    StepDown,
}

/// The lead of one term. The same events give the same acts.
///
/// What drives it guarantees:
/// - `new` only for a picture that names this data plane with this term; `roll` are the registered of that picture, without
///   those that are proven dead. Then a `Limit` for each backend.
/// - Pictures come in order of their version, and name term and registered as one transaction of the control plane wrote
///   them: a row is in no picture before it is durable, and leaves, or changes its incarnation, on proof of death alone.
/// - Proof of death comes by pictures alone: who finds a connection refused tells the control plane, not the lead.
/// - Streams are numbered by it, each delivers in order or not at all; `Closed` is said once one has ended, also when it
///   was ended by `Act::Close`.
/// - `Act::StepDown` ends it: the process drops it and closes its streams.
#[derive(Debug)]
pub struct Lead<O> {
    term: Term,
    home: PlaneId,
    order: O,
    members: Members,
    stock: BTreeMap<BackendId, Stock>,
    books: Books,
    /// Backends whose line may look different.
    changed: BTreeSet<BackendId>,
    /// Free permits whose last user was a data plane that follows, by when they go there.
    parking: BTreeSet<(Moment, Permit)>,
    digests: Digests,
    over: bool,
    planted: Planted,
}

impl<O: Order> Lead<O> {
    /// The lead of a term, at the data plane `home`. `roll` is of the picture that first named the term, or a later one.
    pub fn new(term: Term, home: PlaneId, roll: Roll, order: O) -> Self {
        Lead {
            term,
            home,
            order,
            members: Members::new(roll),
            stock: BTreeMap::new(),
            books: Books::default(),
            changed: BTreeSet::new(),
            parking: BTreeSet::new(),
            digests: Digests::default(),
            over: false,
            planted: Planted::default(),
        }
    }

    /// The same with a rule left out.
    #[cfg(feature = "flaws")]
    pub fn plant(mut self, flaw: Option<Flaw>) -> Self {
        self.planted = Planted(flaw);
        if self.planted.is(Flaw::NoLearning) {
            self.members.unreported.clear();
        }
        self
    }

    /// Takes in one event and appends what is to be done, in order.
    pub fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Act>) {
        if self.over {
            return;
        }
        match event {
            Event::Heard { stream, message } => self.heard(now, stream, message, out),
            Event::Closed { stream } => self.closed(now, stream),
            Event::Picture { term, roll } => self.picture(now, term, roll, out),
            Event::Limit { backend, slots } => self.limit(now, backend, slots, out),
            Event::Wake => {}
        }
        if !self.over {
            self.settle(now, out);
        }
    }

    /// When `handle` wants to be called if nothing else happens before.
    pub fn next_wake(&self) -> Option<Moment> {
        let park = self.parking.first().map(|(at, _)| *at);
        [park, self.order.next_wake(), self.digests.next_wake()].into_iter().flatten().min()
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether a later term has ended it.
    pub fn over(&self) -> bool {
        self.over
    }

    /// Those that are alive as far as is proven and have not reported by this term. While there are any, what nobody has
    /// reported stays where it is.
    pub fn unreported(&self) -> impl Iterator<Item = Member> {
        self.members.unreported.iter().copied()
    }

    /// Those that are alive as far as is proven, and have no stream here.
    pub fn absent(&self) -> impl Iterator<Item = Member> {
        self.members.absent().filter(|member| member.plane != self.home)
    }

    /// Who decided, when it leads no longer.
    pub fn into_order(self) -> O {
        self.order
    }

    /// Who decides what runs next.
    pub fn order(&self) -> &O {
        &self.order
    }

    /// The same, to be told what concerns it alone. Say `Event::Wake` afterwards.
    pub fn order_mut(&mut self) -> &mut O {
        &mut self.order
    }

    /// The permits of all backends: `None` where nobody holds it.
    pub fn permits(&self) -> impl Iterator<Item = (Permit, Option<PlaneId>)> {
        self.stock.iter().flat_map(|(backend, stock)| stock.all(*backend))
    }

    /// The numbers of all tickets that wait or run.
    pub fn tickets(&self) -> impl Iterator<Item = TicketId> {
        self.books.all()
    }

    fn heard(&mut self, now: Moment, stream: StreamId, message: Up, out: &mut Vec<Act>) {
        if let Up::Hello { member, heard, attempt } = message {
            return self.hello(now, stream, (member, heard, attempt), out);
        }
        let Some(member) = self.speaker(stream) else { return };
        let plane = member.plane;
        if let Up::Report { held } = message {
            return self.report(now, member, held, out);
        }
        // what comes before the report is of no use: the permits it speaks of are unknown
        if !self.members.reported(plane) {
            return;
        }
        match message {
            Up::Hello { .. } | Up::Report { .. } => {}
            Up::Ticket(ticket) => self.ticket(now, plane, ticket, out),
            Up::Started { permit, ticket, wants } => {
                self.started(now, plane, permit, (ticket, wants.as_ref()))
            }
            Up::FirstToken { ticket } => {
                if let Some(number) = self.books.number(plane, ticket) {
                    self.order.first_token(now, number);
                }
            }
            Up::Done { permit, ticket, outcome, usage, then } => {
                let number = self.ended(plane, ticket, permit);
                self.then(now, plane, permit, then, out);
                if let Some(number) = number {
                    self.books.remove(number);
                    self.order.finish(now, number, outcome, usage);
                    self.digests.extend(plane, self.order.digest());
                }
            }
            Up::Failed { permit, ticket, fault, sent, then } => {
                let number = self.ended(plane, ticket, permit);
                self.then(now, plane, permit, then, out);
                if let Some(number) = number {
                    self.order.fail(now, number, fault, sent);
                }
            }
            Up::Release { permit } => self.release(now, plane, permit, out),
            Up::Cancel { ticket } => self.cancel(now, plane, ticket),
        }
    }

    /// The number of a running request that has ended; it runs on no permit from now on.
    fn ended(&mut self, plane: PlaneId, id: TicketId, permit: Permit) -> Option<TicketId> {
        let number = self.books.number(plane, id)?;
        if self.books.get(number)?.place != Place::Runs(permit) {
            return None;
        }
        self.books.put(number, Place::Waits);
        self.touch(number);
        Some(number)
    }

    /// Whose stream this is, if it is the one that counts.
    fn speaker(&self, stream: StreamId) -> Option<Member> {
        let member = self.members.of(stream)?;
        let old = self.planted.is(Flaw::OldStreams);
        (old || self.members.stream(member.plane) == Some(stream)).then_some(member)
    }

    fn step_down(&mut self, out: &mut Vec<Act>) {
        self.over = true;
        out.push(Act::StepDown);
    }

    fn send(&self, plane: PlaneId, message: Down, out: &mut Vec<Act>) {
        if let Some(stream) = self.members.stream(plane) {
            out.push(Act::Send { stream, message });
        }
    }
}
