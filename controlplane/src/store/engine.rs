//! What a store engine does: load everything once, commit batches whole.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{
    fleet::Registry,
    model::{Desired, Name, Observed},
};

/// Journal lines that are kept; older ones go in the transaction that adds one.
pub const JOURNAL_LINES_MAX: u64 = 10_000;

/// Identity of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Drawn when the store was made, 32 hex digits.
    pub lineage: String,
    /// Counted durably at every start.
    pub epoch: u64,
    /// Drawn when the store was made: salts prompt hashes.
    pub salt: [u8; 32],
}

/// Everything that a store holds, read at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// Who the store is; the epoch is this start's.
    pub identity: Identity,
    /// The configuration.
    pub desired: Desired,
    /// The data planes and who leads.
    pub registry: Registry,
    /// What was found last of each backend.
    pub seen: BTreeMap<Name, Arc<Observed>>,
}

/// Where a record lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tree {
    /// Single values: lineage, epoch, revision, scheduling, lead, term.
    Meta,
    /// Backends by name.
    Backends,
    /// Routes by name.
    Routes,
    /// One line a revision, by revision.
    Journal,
    /// What was found last, by name of the backend.
    Findings,
    /// Data planes by id.
    Planes,
}

/// Puts and removals that are made together or not at all, in order. `None` removes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch(pub Vec<(Tree, Vec<u8>, Option<Vec<u8>>)>);

/// Why an engine cannot go on. Each is a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum EngineFault {
    /// Another process holds the directory.
    #[error(
        "another control plane uses the state directory {0}: stop it or give --state-dir another directory"
    )]
    Locked(PathBuf),
    /// The directory cannot be used.
    #[error(
        "the state directory {dir} cannot be used: {source}; give --state-dir a directory that can be written to"
    )]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store does not open, also without its index.
    #[error(
        "the store in {dir} does not open: {problem}; nothing was changed; put a copy of the state directory back, or \
         move {} aside to start empty and give it what `llmctl export` printed by `llmctl apply`",
        .dir.parent().unwrap_or(.dir).display()
    )]
    Broken {
        /// The directory.
        dir: PathBuf,
        /// What the engine said.
        problem: String,
    },
    /// It opens, but is not what it was: its log is damaged.
    #[error(
        "the store in {dir} {has}, but had revision {had}: it was damaged or replaced; put a copy of the state directory \
         back, or remove {witness} to go on with what is there"
    )]
    Lost {
        /// The directory.
        dir: PathBuf,
        /// The revision that it had.
        had: u64,
        /// What it has now, in words.
        has: String,
        /// The note that says so.
        witness: PathBuf,
    },
    /// A record cannot be read.
    #[error(
        "the store has a record that this version cannot read: {0}; nothing was changed; start the version that wrote \
         it, or put a copy of the state directory back"
    )]
    Record(String),
    /// Less free space than the floor.
    #[error(
        "the file system of {dir} has {free_bytes} bytes free, the store writes with at least {floor_bytes}: make room"
    )]
    Full {
        /// The directory.
        dir: PathBuf,
        /// Free for us.
        free_bytes: u64,
        /// Needed.
        floor_bytes: u64,
    },
    /// A write failed.
    #[error("the store did not take a write: {0}")]
    Write(String),
}

/// A store engine, owned by the one writer thread.
pub trait Engine: Send {
    /// Everything it holds, by record; an empty store gives nothing.
    ///
    /// # Errors
    /// [`EngineFault`] when it cannot be read.
    fn load(&mut self) -> Result<Records, EngineFault>;

    /// Makes a batch durable, whole or not at all, before it returns.
    ///
    /// # Errors
    /// [`EngineFault`]; nothing of the batch holds then.
    fn commit(&mut self, batch: &Batch) -> Result<(), EngineFault>;
}

/// Records as an engine gives them, in order of key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Records {
    /// Of [`Tree::Meta`].
    pub meta: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of [`Tree::Backends`].
    pub backends: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of [`Tree::Routes`].
    pub routes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of [`Tree::Findings`].
    pub findings: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of [`Tree::Planes`].
    pub planes: Vec<(Vec<u8>, Vec<u8>)>,
}
