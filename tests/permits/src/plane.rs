//! A machine and the process of a data plane on it.

use std::collections::VecDeque;

use sched::Moment;
use sched::lead::{Lead, StreamId};
use sched::owner::Owner;
use sched::permit::{Flaw, Incarnation, PlaneId, Term};

use crate::control::Picture;
use crate::world::{Input, Known};

/// The clock of a machine: it begins anywhere and runs a little fast or slow.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it shows at the start.
    pub offset: u64,
    /// Parts in a million that it is fast.
    pub drift: i64,
}

impl Clock {
    /// What it shows.
    pub fn at(self, now: u64) -> Moment {
        let off = now as i64 * self.drift / 1_000_000;
        Moment((self.offset + now).saturating_add_signed(off))
    }

    /// When it shows that, or a little later.
    pub fn when(self, moment: Moment) -> u64 {
        let shown = moment.0.saturating_sub(self.offset) as i64;
        (shown - shown * self.drift / 1_000_000 + 2).max(0) as u64
    }
}

/// A process.
pub struct Process {
    /// Tells it from all others.
    pub life: u64,
    /// Its end of the protocol.
    pub owner: Owner,
    /// The lead's end, while it leads.
    pub lead: Option<Lead<Box<dyn Known>>>,
    /// Its stream to the lead, and the number it has for it.
    pub out: Option<(StreamId, u64)>,
    /// The stream to a lead in the same process.
    pub home: Option<(StreamId, u64)>,
    /// The latest picture.
    pub picture: Option<Picture>,
    /// It is stopped; what comes waits.
    pub paused: bool,
    /// What came meanwhile.
    pub backlog: VecDeque<Input>,
    /// Tickets so far.
    pub tickets: u64,
    /// When it will be woken.
    pub wake: Option<u64>,
    /// It stood in a picture.
    pub registered: bool,
}

/// A machine.
pub struct Plane {
    /// The id in its state directory.
    pub id: PlaneId,
    /// Starts that the state directory counts.
    pub starts: u64,
    /// The picture that its state directory keeps.
    pub kept: Option<Picture>,
    /// Its clock.
    pub clock: Clock,
    /// What runs there.
    pub process: Option<Process>,
}

impl Plane {
    /// Starts a process.
    pub fn start(&mut self, life: u64, flaw: Option<Flaw>) {
        self.starts += 1;
        let owner = Owner::new(self.id, Incarnation(self.starts)).plant(flaw);
        self.process = Some(Process {
            life,
            owner,
            lead: None,
            out: None,
            home: None,
            picture: None,
            paused: false,
            backlog: VecDeque::new(),
            tickets: 0,
            wake: None,
            registered: false,
        });
    }

    /// Its term, while it leads.
    pub fn leads(&self) -> Option<Term> {
        let lead = self.process.as_ref()?.lead.as_ref()?;
        (!lead.over()).then(|| lead.term())
    }
}
