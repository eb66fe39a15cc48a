//! The control plane as far as permits go: a durable registry and term, and pictures of them.

use std::collections::BTreeMap;

use sched::permit::{Incarnation, PlaneId, Roll, Term};

/// What data planes are told.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Grows with every change.
    pub version: u64,
    /// Who leads.
    pub lead: Option<(PlaneId, Term)>,
    /// Who is registered.
    pub roll: Roll,
    /// The slots of each backend.
    pub slots: Vec<u32>,
}

/// The control plane. All but `up` and what is below it lies in its store, written before anybody is told.
pub struct Control {
    /// The latest picture.
    pub picture: Picture,
    term: Term,
    /// The last incarnation that was proven dead.
    gone: Roll,
    /// The incarnation that was appointed.
    appointed: Option<(PlaneId, Incarnation)>,
    /// The last picture of the term before, which one that is behind may still show.
    pub stale: Option<Picture>,
    /// Whether its process runs.
    pub up: bool,
    /// By what it heard of each data plane last.
    pub heard: BTreeMap<PlaneId, u64>,
}

impl Control {
    /// One that knows nobody.
    pub fn new(slots: Vec<u32>) -> Self {
        let picture = Picture { version: 1, lead: None, roll: Roll::new(), slots };
        Control {
            picture,
            term: Term(0),
            gone: Roll::new(),
            appointed: None,
            stale: None,
            up: true,
            heard: BTreeMap::new(),
        }
    }

    /// A process registers itself: its earlier ones are dead, by the lock of its state directory.
    pub fn register(&mut self, plane: PlaneId, incarnation: Incarnation) {
        let known = self.picture.roll.get(&plane).max(self.gone.get(&plane));
        if known.is_none_or(|known| *known < incarnation) {
            self.picture.roll.insert(plane, incarnation);
            self.picture.version += 1;
        }
    }

    /// A process is proven dead.
    pub fn bury(&mut self, plane: PlaneId, incarnation: Incarnation) {
        let gone = self.gone.entry(plane).or_insert(incarnation);
        *gone = incarnation.max(*gone);
        if self.picture.roll.get(&plane) == Some(&incarnation) {
            self.picture.roll.remove(&plane);
            self.picture.version += 1;
        }
    }

    /// Whether the process that was appointed is known dead, or nobody was.
    pub fn headless(&self) -> bool {
        self.appointed.is_none_or(|(plane, incarnation)| self.picture.roll.get(&plane) != Some(&incarnation))
    }

    /// Another term, with this lead. The store takes it only because no other was drawn since.
    pub fn appoint(&mut self, plane: PlaneId) {
        let Some(incarnation) = self.picture.roll.get(&plane).copied() else { return };
        self.term.0 += 1;
        self.stale = Some(self.picture.clone());
        self.appointed = Some((plane, incarnation));
        self.picture.lead = Some((plane, self.term));
        self.picture.version += 1;
    }
}
