//! What is wrong with an input, and why a change was refused.

use super::{BaseUrl, Name};

/// One faulty field.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Fault {
    /// Where, such as `backends[web].url`.
    pub path: String,
    /// The value and what is allowed.
    pub problem: String,
}

impl Fault {
    /// A fault at a path.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Fault { path: path.into(), problem: problem.into() }
    }
}

/// Why a change was not made. Nothing has changed then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Fields are faulty: all of them, a line each.
    #[error("{}", lines(.0))]
    Invalid(Vec<Fault>),
    /// There is no such resource.
    #[error("{what} {name:?} does not exist")]
    Missing {
        /// "backend" or "route".
        what: &'static str,
        /// Its name, as asked for.
        name: String,
    },
    /// The name is taken.
    #[error("{what} {name:?} exists already (revision {revision})")]
    Exists {
        /// "backend" or "route".
        what: &'static str,
        /// Its name.
        name: Name,
        /// Where it last changed.
        revision: u64,
    },
    /// Another backend has the URL: two of them would count its slots twice.
    #[error("backend {there:?} has the URL {url} already: {name:?} would count its slots twice")]
    SameUrl {
        /// The backend that has it.
        there: Name,
        /// The one that was to get it.
        name: Name,
        /// Normalised.
        url: BaseUrl,
    },
    /// The demanded revision is not the current one.
    #[error("{what} {name:?} is at revision {current}, not at the demanded {expected}: read it again")]
    Stale {
        /// "backend" or "route".
        what: &'static str,
        /// Its name.
        name: Name,
        /// The demanded revision.
        expected: u64,
        /// The revision that it is at; 0: it does not exist.
        current: u64,
    },
    /// Routes name the backend.
    #[error("backend {name:?} is named by {}: change or delete {} first", quoted(.routes), them(.routes))]
    InUse {
        /// The backend.
        name: Name,
        /// The routes that name it, at most a few.
        routes: Vec<Name>,
    },
}

fn lines(faults: &[Fault]) -> String {
    let all: Vec<String> = faults.iter().map(Fault::to_string).collect();
    all.join("\n")
}

fn quoted(routes: &[Name]) -> String {
    let all: Vec<String> = routes.iter().map(|name| format!("route {:?}", name.as_str())).collect();
    all.join(", ")
}

fn them(routes: &[Name]) -> &'static str {
    if routes.len() == 1 { "it" } else { "them" }
}
