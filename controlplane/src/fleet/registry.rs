//! The durable part: which data planes there are, which of their incarnations are proven dead, and who leads.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::Denial;

/// Rows at most. While there is no room, and none that may be forgotten, a new data plane is turned away.
pub const PLANES_MAX: usize = 256;
/// A data plane that is proven dead is forgotten when it was not heard of for so long.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Terms that a data plane tells of count up to here: none can use up all there are.
const TERM_MAX: u64 = u64::MAX / 2;

/// A data plane, as it registered last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Counts the starts on its state directory; the latest that registered.
    pub incarnation: u64,
    /// Drawn by that process.
    pub process: String,
    /// Where it serves clients.
    pub serves: String,
    /// Where it answers for itself.
    pub admin: String,
    /// Where other data planes reach it; may be empty.
    pub peer: String,
    /// Its software.
    pub software: String,
    /// This incarnation and all before it are proven dead.
    pub dead_through: u64,
    /// It is to take no new work.
    pub draining: bool,
    /// Milliseconds since the Unix epoch.
    pub first_seen_ms: u64,
    /// Milliseconds since the Unix epoch; up to a minute late.
    pub seen_ms: u64,
    /// It shares slots by permits, and others reach it.
    #[serde(default)]
    pub permits: bool,
    /// It may go on by itself when it starts again and finds no control plane: no snapshot that it has acknowledged since
    /// names another.
    #[serde(default = "unknown")]
    pub alone: bool,
    /// Milliseconds of silence that it has acknowledged to count as its death; 0: none do.
    #[serde(default)]
    pub silence_ms: u64,
}

/// Of a row that was written before this was asked, the worse is taken.
fn unknown() -> bool {
    true
}

impl Row {
    /// Whether its latest incarnation is proven dead.
    #[must_use]
    pub fn dead(&self) -> bool {
        self.dead_through >= self.incarnation
    }

    fn forgettable(&self, now_ms: u64) -> bool {
        self.dead() && now_ms.saturating_sub(self.seen_ms) >= FORGOTTEN_AFTER.as_millis() as u64
    }
}

/// The data plane that runs the scheduling core for all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lead {
    /// Its id.
    pub plane: String,
    /// Of it.
    pub incarnation: u64,
    /// Of this appointment alone, greater than every term before.
    pub term: u64,
}

/// What a data plane says of itself when it begins to follow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hello {
    /// Its id.
    pub plane: String,
    /// Counts the starts on its state directory, from 1.
    pub incarnation: u64,
    /// Drawn by its process.
    pub process: String,
    /// Where it serves clients.
    pub serves: String,
    /// Where it answers for itself.
    pub admin: String,
    /// Where other data planes reach it.
    pub peer: String,
    /// Its software.
    pub software: String,
    /// It holds the exclusive lock of its state directory.
    pub locked: bool,
    /// The greatest term that it has adopted.
    pub term: u64,
    /// It shares slots by permits.
    pub permits: bool,
}

/// A change of the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A data plane registers. The time is in milliseconds since the Unix epoch.
    Hello(Box<Hello>, u64),
    /// There is proof that an incarnation, and all before it, is dead.
    Dead {
        /// Of this data plane.
        plane: String,
        /// The incarnation.
        incarnation: u64,
        /// How that is known.
        proof: Proof,
    },
    /// It has snapshots on its disk that were published here.
    Acked {
        /// Which.
        plane: String,
        /// Of it.
        incarnation: u64,
        /// All that were published since name another.
        together: bool,
        /// The silence that counts as death by them, milliseconds; 0: none does.
        silence_ms: u64,
    },
    /// Takes new work or not.
    Drain(String, bool),
    /// When data planes were heard of last; forgets those that are dead for long. The time now comes second.
    Seen(Vec<(String, u64)>, u64),
    /// A lead is appointed, if the term is `after` still. The time is in microseconds since the Unix epoch: terms of a
    /// store that was set back are beyond those that it has forgotten.
    Appoint {
        /// The term before.
        after: u64,
        /// Who is to lead.
        plane: String,
        /// Of it.
        incarnation: u64,
        /// Now.
        now_us: u64,
    },
}

/// How it is known that a process is no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// An operator gave his word.
    Fence,
    /// It took leave itself, and does not go on by itself when it starts again.
    Word,
    /// Its own address refused a connection.
    Refused,
    /// It was silent for as long as it knew to count as its death.
    Silence,
}

/// All data planes and the lead. What is made here is seen by data planes only once it is durable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Registry {
    /// By id.
    pub rows: BTreeMap<String, Arc<Row>>,
    /// Who leads; `None`: nobody was appointed yet.
    pub lead: Option<Lead>,
    /// The greatest term that was drawn, or that a data plane has told of.
    pub term: u64,
}

impl Registry {
    /// What registering would change; `None`: nothing.
    ///
    /// # Errors
    /// [`Denial`]: it may not follow.
    pub fn admit(&self, hello: &Hello, now_ms: u64) -> Result<Option<Row>, Denial> {
        let (plane, incarnation) = (hello.plane.clone(), hello.incarnation);
        let Some(was) = self.rows.get(&hello.plane) else {
            let full =
                self.rows.len() >= PLANES_MAX && !self.rows.values().any(|row| row.forgettable(now_ms));
            return if full { Err(Denial::Full) } else { Ok(Some(row(hello, &Row::default(), now_ms))) };
        };
        if incarnation <= was.dead_through {
            return Err(Denial::Dead { plane, incarnation });
        }
        if incarnation < was.incarnation {
            return Err(Denial::Other { plane, incarnation, latest: was.incarnation });
        }
        if incarnation == was.incarnation && hello.process != was.process {
            return Err(Denial::Twice { plane, incarnation });
        }
        if incarnation > was.incarnation && !hello.locked && !was.dead() {
            return Err(Denial::Unlocked { plane, earlier: was.incarnation });
        }
        let now = row(hello, was, now_ms);
        let same =
            Row { seen_ms: was.seen_ms, ..now.clone() } == **was && hello.term.min(TERM_MAX) <= self.term;
        Ok((!same).then_some(now))
    }

    /// Makes a change; whether anything is different.
    ///
    /// # Errors
    /// [`Denial`]; nothing changed.
    pub fn make(&mut self, entry: &Entry) -> Result<bool, Denial> {
        let before = self.clone();
        match entry {
            Entry::Hello(hello, now_ms) => {
                if let Some(row) = self.admit(hello, *now_ms)? {
                    if !self.rows.contains_key(&hello.plane) && self.rows.len() >= PLANES_MAX {
                        self.forget(*now_ms);
                    }
                    self.rows.insert(hello.plane.clone(), Arc::new(row));
                    self.term = self.term.max(hello.term.min(TERM_MAX));
                }
            }
            Entry::Dead { plane, incarnation, proof } => self.change(plane, |row| {
                if *incarnation > row.incarnation {
                    let (plane, incarnation) = (plane.clone(), *incarnation);
                    return Err(Denial::Other { plane, incarnation, latest: row.incarnation });
                }
                let enough = matches!(proof, Proof::Fence | Proof::Word);
                if row.alone && !enough && row.dead_through < *incarnation {
                    return Err(Denial::Alone { plane: plane.clone() });
                }
                row.dead_through = row.dead_through.max(*incarnation);
                Ok(())
            })?,
            Entry::Acked { plane, incarnation, together, silence_ms } => {
                let together = *together && self.rows.len() > 1;
                self.change(plane, |row| {
                    if row.incarnation == *incarnation {
                        row.alone &= !together;
                        row.silence_ms = *silence_ms;
                    }
                    Ok(())
                })?;
            }
            Entry::Drain(plane, draining) => self.change(plane, |row| {
                row.draining = *draining;
                Ok(())
            })?,
            Entry::Seen(seen, now_ms) => {
                for (plane, at_ms) in seen {
                    if let Some(row) = self.rows.get_mut(plane).filter(|row| row.seen_ms < *at_ms) {
                        Arc::make_mut(row).seen_ms = *at_ms;
                    }
                }
                self.forget(*now_ms);
            }
            Entry::Appoint { after, plane, incarnation, now_us } => {
                if *after != self.term {
                    return Err(Denial::Stale { after: *after, current: self.term });
                }
                let row = self.rows.get(plane).ok_or_else(|| Denial::Missing(plane.clone()))?;
                let (plane, incarnation) = (plane.clone(), *incarnation);
                if row.incarnation != incarnation {
                    return Err(Denial::Other { plane, incarnation, latest: row.incarnation });
                }
                if row.dead() {
                    return Err(Denial::Dead { plane, incarnation });
                }
                self.term = (*now_us).max(self.term.saturating_add(1));
                self.lead = Some(Lead { plane, incarnation, term: self.term });
            }
        }
        self.sole();
        Ok(*self != before)
    }

    /// Those that are not proven dead.
    pub fn living(&self) -> impl Iterator<Item = (&String, &Arc<Row>)> {
        self.rows.iter().filter(|(_, row)| !row.dead())
    }

    /// The next snapshot may name one alone: that must be durable before anybody sees it.
    fn sole(&mut self) {
        let mut rows = self.rows.values_mut();
        if let (Some(row), None) = (rows.next(), rows.next())
            && !row.alone
        {
            Arc::make_mut(row).alone = true;
        }
    }

    /// Whether a data plane may start requests: it leads, or shares permits with a lead that does so too.
    #[must_use]
    pub fn works(&self, plane: &str) -> bool {
        let Some(lead) = &self.lead else { return false };
        let shares = |id: &str| self.rows.get(id).filter(|row| row.permits);
        // One whose lead is dead works on, with what it has.
        let led = shares(&lead.plane).is_some() && shares(plane).is_some_and(|row| !row.dead());
        lead.plane == plane || led
    }

    fn change(
        &mut self,
        plane: &str,
        make: impl FnOnce(&mut Row) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        let row =
            self.rows.get_mut(plane).ok_or_else(|| Denial::Missing(plane.chars().take(128).collect()))?;
        let mut next = Row::clone(row);
        make(&mut next)?;
        *row = Arc::new(next);
        Ok(())
    }

    fn forget(&mut self, now_ms: u64) {
        let lead = self.lead.as_ref().map(|lead| lead.plane.clone());
        self.rows.retain(|plane, row| Some(plane) == lead.as_ref() || !row.forgettable(now_ms));
    }
}

fn row(hello: &Hello, was: &Row, now_ms: u64) -> Row {
    let earlier = if hello.locked { hello.incarnation - 1 } else { was.dead_through };
    Row {
        incarnation: hello.incarnation,
        process: hello.process.clone(),
        serves: hello.serves.clone(),
        admin: hello.admin.clone(),
        peer: hello.peer.clone(),
        software: hello.software.clone(),
        dead_through: was.dead_through.max(earlier),
        draining: was.draining,
        first_seen_ms: if was.first_seen_ms == 0 { now_ms } else { was.first_seen_ms },
        seen_ms: now_ms,
        permits: hello.permits && !hello.peer.is_empty(),
        alone: was.incarnation == 0 || was.alone,
        silence_ms: was.silence_ms,
    }
}

#[cfg(test)]
mod tests;
