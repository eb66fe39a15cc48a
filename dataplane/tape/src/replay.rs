//! Replay: the very core is told what it was told, and must say what it said.

use std::io::BufRead;
use std::sync::Arc;

use sched::{Decision, Moment, Scheduler};

use crate::line::End;
use crate::read::{Reader, TapeError};

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replayed {
    /// Events that the core was told.
    pub events: u64,
    /// Decisions on the tape.
    pub decisions: u64,
    /// Why the tape ends; none when its writer was killed, or goes on.
    pub end: Option<End>,
    /// The first event to which the core says anything else than it did.
    pub differs: Option<Difference>,
}

/// An event to which the core says anything else than it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The line of the tape, counted from 1.
    pub line: u64,
    /// When the event came, since the start of the core.
    pub at: Moment,
    /// What it said.
    pub recorded: Vec<Decision>,
    /// What it says.
    pub replayed: Vec<Decision>,
}

/// Tells a new core everything on the tape, up to the first difference.
///
/// # Errors
/// [`TapeError`] when it cannot be read to its end; what was read until then differs nowhere.
pub fn replay<R: BufRead>(tape: &mut Reader<R>) -> Result<Replayed, TapeError> {
    let mut core = Scheduler::new(tape.head.seed, Arc::new(tape.head.fleet.0.clone()));
    let mut replayed = Replayed::default();
    let mut said = Vec::new();
    while let Some(step) = tape.step(|_, _| {})? {
        let at = Moment(step.at);
        said.clear();
        core.handle(at, step.event.0, &mut said);
        replayed.events += 1;
        replayed.decisions += step.said.len() as u64;
        if !step.said.iter().map(|said| &said.0).eq(&said) {
            let recorded = step.said.into_iter().map(|said| said.0).collect();
            replayed.differs = Some(Difference { line: tape.line(), at, recorded, replayed: said });
            return Ok(replayed);
        }
    }
    replayed.end = tape.end();
    Ok(replayed)
}
