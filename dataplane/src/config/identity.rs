//! Who this data plane is: an id that its state directory keeps, a count of its starts, and the lock that proves that
//! no earlier process of it lives.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// What is kept, beside the lock.
const KEPT: &str = "identity.json";

/// Why a state directory gives no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another process holds the lock.
    #[error("another data plane runs on {0}: give this one a --state-dir of its own")]
    Locked(PathBuf),
    /// It cannot be read, written or locked.
    #[error("the state directory {path} cannot be used: {source}")]
    State {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// Who this process is, as long as it lives.
#[derive(Debug)]
pub struct Identity {
    /// Of the state directory. One that is new, or a copy, has an id of its own.
    pub plane: String,
    /// Counts the starts on that directory, from 1; durable before it is told.
    pub incarnation: u64,
    /// Drawn by this process.
    pub process: String,
    /// Exclusive for as long as the process lives, however it ends.
    _lock: File,
}

impl Identity {
    /// Locks `folder`, which is made if missing, and counts this start.
    ///
    /// # Errors
    /// [`IdentityError`], a sentence for the operator.
    pub fn claim(folder: &Path) -> Result<Self, IdentityError> {
        let state = |source| IdentityError::State { path: folder.to_path_buf(), source };
        fs::create_dir_all(folder).map_err(state)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"));
        let lock = lock.map_err(state)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(IdentityError::Locked(folder.to_path_buf())),
            Err(TryLockError::Error(source)) => return Err(state(source)),
        }
        // A copy of the directory has another lock: that its holder lives says nothing about the original's.
        let inode = lock.metadata().map_err(state)?.ino();
        let (plane, started) = match kept(folder).map_err(state)? {
            Some((plane, started, at)) if at == inode => (plane, started),
            Some((plane, ..)) => {
                tracing::warn!(
                    plane,
                    "the state directory is a copy, or was put back: a data plane of its own now"
                );
                (format!("{:016x}", random()), 0)
            }
            None => (format!("{:016x}", random()), 0),
        };
        let incarnation = started + 1;
        write(folder, &json!({ "plane": plane, "incarnation": incarnation, "lock": inode }))
            .map_err(state)?;
        Ok(Self { plane, incarnation, process: format!("{:016x}", random()), _lock: lock })
    }
}

/// The id, the starts so far, and the inode of the lock. What cannot be understood is as if it were not there: a new id
/// claims nothing.
fn kept(folder: &Path) -> io::Result<Option<(String, u64, u64)>> {
    let text = match fs::read(folder.join(KEPT)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let value: Value = serde_json::from_slice(&text).unwrap_or_default();
    let plane = value["plane"].as_str().filter(|plane| (1..=63).contains(&plane.len()));
    let numbers = value["incarnation"].as_u64().zip(value["lock"].as_u64());
    let Some((plane, (started, inode))) = plane.zip(numbers) else {
        tracing::warn!(path = %folder.join(KEPT).display(), "it cannot be understood: a new data plane");
        return Ok(None);
    };
    Ok(Some((plane.to_owned(), started, inode)))
}

/// On the disk, whole or not at all, also after a power loss.
fn write(folder: &Path, value: &Value) -> io::Result<()> {
    let beside = folder.join("identity.new");
    let mut file = File::create(&beside)?;
    file.write_all(value.to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(KEPT))?;
    File::open(folder)?.sync_all()
}

fn random() -> u64 {
    getrandom::u64().expect("the system gives random bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_process_and_counts_its_starts() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::claim(folder.path()).unwrap();
        assert_eq!(first.incarnation, 1);
        assert!(matches!(Identity::claim(folder.path()), Err(IdentityError::Locked(_))));
        let (plane, process) = (first.plane.clone(), first.process.clone());
        drop(first);
        let second = Identity::claim(folder.path()).unwrap();
        assert_eq!((second.plane, second.incarnation), (plane, 2));
        assert_ne!(second.process, process);
    }

    #[test]
    fn a_fresh_directory_a_copy_and_a_torn_one_are_new() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Identity::claim(one.path()).unwrap();
        for name in ["lock", KEPT] {
            fs::copy(one.path().join(name), two.path().join(name)).unwrap();
        }
        let copy = Identity::claim(two.path()).unwrap();
        assert_eq!(copy.incarnation, 1);
        assert_ne!(copy.plane, first.plane);
        drop(first);
        fs::write(one.path().join(KEPT), "{\"plane\":").unwrap();
        let torn = Identity::claim(one.path()).unwrap();
        assert_eq!(torn.incarnation, 1);
    }
}
