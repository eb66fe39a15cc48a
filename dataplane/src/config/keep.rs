//! Keeps the newest snapshot on the disk, beside those that serve: a slow disk holds up nobody.

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use proto::v1;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::file;

/// From one write to the next: a fleet whose servers come and go must not keep a disk busy.
const EVERY: Duration = Duration::from_millis(200);

/// Writes one snapshot at a time, the newest next; those between are left out.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    next: Option<v1::Snapshot>,
    writing: Option<(JoinHandle<io::Result<()>>, Option<v1::Version>)>,
    /// When the next write may begin.
    at: Instant,
}

impl Keeper {
    /// Keeps snapshots at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, next: None, writing: None, at: Instant::now() }
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest snapshot, to be written when [`Keeper::kept`] is waited for.
    pub fn keep(&mut self, snapshot: v1::Snapshot) {
        self.next = Some(snapshot);
    }

    /// The version that came to the disk, or (false) that the disk refused, which is logged. Waits for ever when there is
    /// nothing to write. Dropped, it goes on where it was at the next call.
    pub async fn kept(&mut self) -> (Option<v1::Version>, bool) {
        if self.writing.is_none() {
            if self.next.is_some() {
                sleep_until(self.at).await;
                self.at = Instant::now() + EVERY;
            }
            let Some(snapshot) = self.next.take() else { return pending().await };
            let (path, version) = (self.path.clone(), snapshot.version.clone());
            let task = tokio::task::spawn_blocking(move || file::write(&path, &snapshot));
            self.writing = Some((task, version));
        }
        let (task, version) = self.writing.as_mut().expect("it was set just now");
        let written = task.await.unwrap_or_else(|problem| Err(io::Error::other(problem)));
        let version = version.take();
        self.writing = None;
        if let Err(error) = &written {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the last good snapshot cannot be kept on disk");
        }
        (version, written.is_ok())
    }

    /// Keeps this one in the place of any other, at once. False: the disk refused it.
    pub async fn last(&mut self, snapshot: v1::Snapshot) -> bool {
        if let Some((task, _)) = self.writing.take() {
            // Whether it succeeded is of no account: this one comes after it.
            let _ = task.await;
        }
        (self.next, self.at) = (Some(snapshot), Instant::now());
        self.kept().await.1
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::*;

    fn snapshot(seq: u64) -> v1::Snapshot {
        let version = Some(v1::Version { lineage: "ab".into(), epoch: 1, seq });
        v1::Snapshot { version, ..v1::Snapshot::default() }
    }

    async fn kept(keeper: &mut Keeper) -> u64 {
        let kept = tokio::time::timeout(Duration::from_secs(20), keeper.kept()).await;
        kept.expect("in time").0.expect("a version").seq
    }

    #[tokio::test]
    async fn the_newest_is_kept_and_what_lies_between_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(folder.path().join("snapshot.json"));
        keeper.keep(snapshot(1));
        let mut told = Vec::new();
        // Polled once and dropped: the write has begun, and may have ended.
        if let Ok((Some(version), _)) = tokio::time::timeout(Duration::ZERO, keeper.kept()).await {
            told.push(version.seq);
        }
        keeper.keep(snapshot(2));
        keeper.keep(snapshot(3));
        while told.last() != Some(&3) {
            told.push(kept(&mut keeper).await);
        }
        assert_eq!(told, [1, 3]);
        assert_eq!(file::read(keeper.path()).unwrap(), snapshot(3));
    }

    #[tokio::test]
    async fn the_last_one_takes_the_place_of_those_that_wait_and_of_the_one_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(folder.path().join("snapshot.json"));
        keeper.keep(snapshot(1));
        let _ = tokio::time::timeout(Duration::ZERO, keeper.kept()).await;
        keeper.keep(snapshot(2));
        keeper.last(snapshot(3)).await;
        assert_eq!(file::read(keeper.path()).unwrap(), snapshot(3));
        assert!(tokio::time::timeout(Duration::ZERO, keeper.kept()).await.is_err(), "nothing is left");
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_no_reason_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(folder.path().join("none").join("snapshot.json"));
        keeper.keep(snapshot(1));
        assert_eq!(keeper.kept().await, (snapshot(1).version, false));
    }
}
