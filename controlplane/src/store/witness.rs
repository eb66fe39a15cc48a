//! A note beside the store of what it held last, so that a damaged log that opens as an older store is told from one
//! that is whole.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::engine::EngineFault;

/// The note. It is written after a commit is durable and not synced: what it says, the store had.
#[derive(Debug)]
pub struct Witness {
    path: PathBuf,
    file: File,
    revision: u64,
    lineage: String,
}

impl Witness {
    /// Opens or makes the note at `path`.
    ///
    /// # Errors
    /// The system's word.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        // One that cannot be read says nothing: a power loss may have left it so.
        let text = fs::read_to_string(&path).unwrap_or_default();
        let parts = text.trim_end().split_once(' ').and_then(|(lineage, revision)| {
            revision.parse().ok().map(|revision| (lineage.to_owned(), revision))
        });
        let (lineage, revision) = parts.unwrap_or_default();
        Ok(Self { path, file, revision, lineage })
    }

    /// Holds what the store in `dir` says of itself against the note.
    ///
    /// # Errors
    /// [`EngineFault::Lost`] when the store was further once.
    pub fn check(&self, dir: &Path, lineage: &str, revision: u64) -> Result<(), EngineFault> {
        let same = self.lineage == lineage;
        if self.lineage.is_empty() || (same && revision >= self.revision) {
            return Ok(());
        }
        let has =
            if same { format!("has revision {revision}") } else { "is another or an empty one".to_owned() };
        let (dir, witness) = (dir.to_owned(), self.path.clone());
        Err(EngineFault::Lost { dir, had: self.revision, has, witness })
    }

    /// Notes what the store holds now.
    ///
    /// # Errors
    /// The system's word.
    pub fn note(&mut self, lineage: &str, revision: u64) -> io::Result<()> {
        if self.lineage != lineage || self.revision != revision {
            // Always of the same length, so that one write replaces all of it.
            self.file.write_all_at(format!("{lineage} {revision:020}\n").as_bytes(), 0)?;
            (self.lineage, self.revision) = (lineage.to_owned(), revision);
        }
        Ok(())
    }
}
