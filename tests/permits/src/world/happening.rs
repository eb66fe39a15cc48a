//! What a world is like, and what happens in it.

use sched::lead::{self, Order, StreamId};
use sched::owner;
use sched::permit::{Flaw, Incarnation, PlaneId};
use sched::{BackendId, Moment, Outcome, Span, TicketId};

use crate::control::Picture;
use crate::judge::Request;
use crate::net::End;

/// An order that says which tickets it knows.
pub trait Known: Order {
    /// All that wait or run, by number.
    fn tickets(&self) -> Vec<TicketId>;
}

/// What a world is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many machines.
    pub planes: usize,
    /// The slots of each backend.
    pub slots: Vec<u32>,
    /// How long something takes to another machine, in microseconds: at least and at most.
    pub delay: (u64, u64),
    /// Streams may come late and twice, clocks differ, clients leave and servers fail.
    pub rough: bool,
    /// Time between two requests at one machine, in microseconds, as a mean; zero: none come by themselves.
    pub gap: u64,
    /// How long servers work, in microseconds: at least and at most.
    pub service: (u64, u64),
    /// Leads come and go while some hear of it late.
    pub reigns: bool,
    /// Silence of the control plane for so long is death.
    pub silence: Option<Span>,
    /// Who runs next is decided by the product's scheduling core, not by arrival alone.
    pub core: bool,
    /// A rule that is left out.
    pub flaw: Option<Flaw>,
}

/// What comes to a process.
#[derive(Clone, Debug)]
pub enum Input {
    /// For its owner.
    Owner(owner::Event),
    /// For its lead.
    Lead(lead::Event),
    /// Of the control plane.
    Picture(Picture),
    /// Another process wants a stream.
    Accept(StreamId),
    /// A request of a client, with the backends it may run on and the time that servers work on it.
    Arrive(Vec<BackendId>, u64),
    /// Time to speak to the control plane.
    Knock,
    /// A client left.
    Left(TicketId),
    /// A server ended a request.
    Ended(TicketId, Outcome),
    /// A server failed a request.
    Failed(TicketId),
    /// A timer.
    Wake,
}

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Something reaches a process; by a stream, if that still carries it.
    Reach(End, Option<StreamId>, Input),
    /// A process tries to reach the lead.
    Open(End, u64, PlaneId),
    /// A process speaks to the control plane: its clock showed that.
    Register(usize, PlaneId, Incarnation, Moment),
    /// A process is proven dead, where the control plane is there to hear it.
    Bury(PlaneId, Incarnation),
    /// The control plane looks around.
    Tick,
    /// A machine starts its process again; with the state directory that it had.
    Boot(usize, bool),
    /// A stopped process goes on.
    Resume(usize, u64),
    /// A process that leaves ends once nothing runs there.
    Exit(usize, u64),
    /// The control plane starts again.
    Revive,
    /// A server's work on a request is over, if this was its latest.
    Served(Request, u64, Served),
    /// A client comes to a machine.
    Client(usize),
    /// A way is open again.
    Mend(usize, usize),
    /// Something goes wrong.
    Chaos,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// With an answer, or because the client left.
    Ended(Outcome),
    /// Without one.
    Failed,
}

/// What is planned for a request.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// How long it takes.
    pub length: u64,
    /// The next attempt fails.
    pub fails: bool,
    /// Counts attempts.
    pub attempt: u64,
}

/// What the journal has of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It came.
    Came,
    /// It started there.
    Started(BackendId),
    /// Its server ended.
    Ended,
}
