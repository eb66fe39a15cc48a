//! Snapshots on disk: the last good one, and one given by hand.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use proto::v1;

/// Why a snapshot file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's word.
        source: io::Error,
    },
    /// It is not a snapshot.
    #[error("{path} is not a snapshot: {source}")]
    Form {
        /// The file.
        path: String,
        /// Where and why.
        source: proto::FormError,
    },
}

/// Reads a snapshot in the proto's JSON or YAML form.
///
/// # Errors
/// [`FileError`], naming the file.
pub fn read(path: &Path) -> Result<v1::Snapshot, FileError> {
    let shown = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| FileError::Read { path: shown(), source })?;
    proto::from_yaml("Snapshot", &text).map_err(|source| FileError::Form { path: shown(), source })
}

/// Replaces the snapshot at `path` whole: a crash leaves the old one or the new one.
///
/// # Errors
/// The system's word when the disk refuses.
pub fn write(path: &Path, snapshot: &v1::Snapshot) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(proto::to_json("Snapshot", snapshot).as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use proto::v1;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot.json");
        let snapshot = v1::Snapshot {
            version: Some(v1::Version { lineage: "ab".into(), epoch: u64::MAX, seq: 7 }),
            owner: true,
            salt: vec![1, 2, 255],
            // a newer control plane may say what this version has no word for
            routes: vec![v1::Route { policy: 77, class: -5, ..v1::Route::default() }],
            scheduling: Some(v1::Scheduling { fair: Some(false), ..v1::Scheduling::default() }),
            ..Default::default()
        };
        super::write(&path, &snapshot).unwrap();
        assert_eq!(super::read(&path).unwrap(), snapshot);
        assert!(super::read(&folder.path().join("none")).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn an_unknown_field_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot.yaml");
        std::fs::write(&path, "owner: true\nbackendz: []\n").unwrap();
        assert!(super::read(&path).unwrap_err().to_string().contains("backendz"));
    }
}
