//! What must hold after every event: one law a file, judged by the ledger and never by the core's own books.

use sched::{BackendId, Moment, View};

use crate::ledger::Ledger;

mod above;
mod age;
mod agree;
mod best;
mod budget;
mod close;
mod decline;
mod full;
mod idle;
mod late;
mod load;
mod lost;
mod once;
mod open;
mod order;
mod reason;
mod reserve;
mod rest;
mod share;
mod spare;
mod trial;
mod tries;
mod vain;
mod wake;

/// What a law looks at beside the ledger.
pub struct Step<'a> {
    /// What the core says of itself.
    pub view: &'a View,
    /// When the core wants to be called again.
    pub next_wake: Option<Moment>,
    /// How many requests a server really works on.
    pub working: &'a dyn Fn(BackendId) -> usize,
    /// Nothing is left to happen.
    pub quiet: bool,
}

/// A law by its name.
pub struct Law {
    /// The name of its file.
    pub name: &'static str,
    /// What was seen, when it does not hold.
    pub holds: fn(&Ledger, &Step) -> Result<(), String>,
}

/// All laws.
pub const LAWS: &[Law] = &[
    Law { name: "above", holds: above::holds },
    Law { name: "once", holds: once::holds },
    Law { name: "lost", holds: lost::holds },
    Law { name: "idle", holds: idle::holds },
    Law { name: "age", holds: age::holds },
    Law { name: "load", holds: load::holds },
    Law { name: "decline", holds: decline::holds },
    Law { name: "share", holds: share::holds },
    Law { name: "order", holds: order::holds },
    Law { name: "best", holds: best::holds },
    Law { name: "full", holds: full::holds },
    Law { name: "spare", holds: spare::holds },
    Law { name: "vain", holds: vain::holds },
    Law { name: "late", holds: late::holds },
    Law { name: "reason", holds: reason::holds },
    Law { name: "wake", holds: wake::holds },
    Law { name: "tries", holds: tries::holds },
    Law { name: "budget", holds: budget::holds },
    Law { name: "open", holds: open::holds },
    Law { name: "trial", holds: trial::holds },
    Law { name: "reserve", holds: reserve::holds },
    Law { name: "rest", holds: rest::holds },
    Law { name: "close", holds: close::holds },
    Law { name: "agree", holds: agree::holds },
];

/// One law alone, as a list.
pub fn only(name: &str) -> Option<&'static [Law]> {
    let index = LAWS.iter().position(|law| law.name == name)?;
    Some(&LAWS[index..=index])
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
