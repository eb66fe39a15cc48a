//! Streams between data planes: first in, first out within one, anything between several.

use std::collections::BTreeMap;

use sched::lead::StreamId;

/// One end of a stream: which machine, and which process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The machine.
    pub machine: usize,
    /// The process.
    pub life: u64,
}

/// A stream from a follower to a lead.
#[derive(Clone, Debug)]
pub struct Conn {
    /// The follower.
    pub from: End,
    /// Its number there.
    pub attempt: u64,
    /// The lead.
    pub to: End,
    /// It was cut, or closed by one side.
    pub cut: bool,
    /// What was on its way then still arrives.
    pub lingers: bool,
    /// A copy of another that the network made: nobody hears what it says.
    pub ghost: bool,
    last: [u64; 2],
}

/// All streams.
#[derive(Default)]
pub struct Net {
    conns: BTreeMap<StreamId, Conn>,
    made: u64,
}

impl Net {
    /// A new stream.
    pub fn open(&mut self, from: End, attempt: u64, to: End, ghost: bool) -> StreamId {
        self.made += 1;
        let stream = StreamId(self.made);
        let conn = Conn { from, attempt, to, cut: false, lingers: false, ghost, last: [0; 2] };
        self.conns.insert(stream, conn);
        stream
    }

    /// One of them.
    pub fn get(&self, stream: StreamId) -> Option<&Conn> {
        self.conns.get(&stream)
    }

    /// When something sent now arrives: behind all that was sent before it.
    pub fn arrival(&mut self, stream: StreamId, up: bool, at: u64) -> Option<u64> {
        let conn = self.conns.get_mut(&stream).filter(|conn| !conn.cut)?;
        let last = &mut conn.last[usize::from(up)];
        *last = at.max(*last);
        Some(*last)
    }

    /// Cuts a stream; the answer is whether it was whole.
    pub fn cut(&mut self, stream: StreamId, lingers: bool) -> bool {
        let Some(conn) = self.conns.get_mut(&stream).filter(|conn| !conn.cut) else { return false };
        conn.cut = true;
        conn.lingers = lingers;
        true
    }

    /// Whether what travels by it still arrives.
    pub fn carries(&self, stream: StreamId) -> bool {
        self.conns.get(&stream).is_some_and(|conn| !conn.cut || conn.lingers)
    }

    /// Whole streams that a machine has part in.
    pub fn of(&self, machine: usize) -> Vec<StreamId> {
        let of = |conn: &Conn| {
            !conn.cut && conn.from != conn.to && (conn.from.machine == machine || conn.to.machine == machine)
        };
        self.conns.iter().filter(|(_, conn)| of(conn)).map(|(stream, _)| *stream).collect()
    }

    /// All whole streams between machines.
    pub fn whole(&self) -> Vec<StreamId> {
        self.conns
            .iter()
            .filter(|(_, conn)| !conn.cut && conn.from != conn.to)
            .map(|(stream, _)| *stream)
            .collect()
    }

    /// Forgets streams that are of no use any more.
    pub fn forget(&mut self, stream: StreamId) {
        self.conns.remove(&stream);
    }
}
