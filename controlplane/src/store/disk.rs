//! sled, behind the rules that make it safe: one thread, `flush`, a data sync of our own, a ladder to open it.

use std::{
    fs::{self, File, TryLockError},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sled::{
    Transactional,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};

use super::{
    engine::{Batch, Engine, EngineFault, Records, Tree},
    tree,
    witness::Witness,
};

/// Bytes of sled's page cache.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// No write starts with less free space: sled waits for ever on a full disk.
pub const FREE_BYTES_FLOOR: u64 = 64 << 20;
/// A database that was closed, or did not open, lets go of sled's lock from a thread of its own, within this time;
/// nobody else can hold it: ours comes first.
const RELEASED_WITHIN: Duration = Duration::from_secs(1);
/// sled's own background flush, milliseconds.
const FLUSH_EVERY_MS: u64 = 200;

/// One sled database, alone on its directory. Fields drop in this order: trees, database, sync handle, note, lock.
pub struct Disk {
    meta: sled::Tree,
    backends: sled::Tree,
    routes: sled::Tree,
    journal: sled::Tree,
    findings: sled::Tree,
    planes: sled::Tree,
    db: sled::Db,
    file: File,
    dir: PathBuf,
    free_bytes_floor: u64,
    witness: Witness,
    _lock: File,
}

impl Disk {
    /// Opens or makes the store under `state_dir`.
    ///
    /// # Errors
    /// [`EngineFault`]: the directory cannot be used, another process holds it, or the store is broken.
    pub fn open(state_dir: &Path) -> Result<Self, EngineFault> {
        let directory = |source| EngineFault::Directory { dir: state_dir.to_owned(), source };
        // A folder of its own: the data plane may use the same state directory.
        let home = state_dir.join("control");
        fs::create_dir_all(&home).map_err(directory)?;
        let lock = lock(state_dir, &home)?;
        let dir = home.join("store");
        let db = ladder(&dir)?;
        let tree = |name: &str| db.open_tree(name).map_err(|problem| broken(&dir, &problem));
        let (meta, backends) = (tree("meta")?, tree("backends")?);
        let (routes, journal) = (tree("routes")?, tree("journal")?);
        let (findings, planes) = (tree("findings")?, tree("planes")?);
        // sled's flush orders data only; this handle is for the sync that survives a power loss.
        let file = File::open(dir.join("db")).map_err(directory)?;
        let free_bytes_floor = FREE_BYTES_FLOOR;
        let witness = Witness::open(home.join("witness")).map_err(directory)?;
        Ok(Disk {
            meta,
            backends,
            routes,
            journal,
            findings,
            planes,
            db,
            file,
            dir,
            free_bytes_floor,
            witness,
            _lock: lock,
        })
    }

    /// With another floor of free space, bytes.
    #[cfg(test)]
    pub fn with_floor(mut self, free_bytes_floor: u64) -> Self {
        self.free_bytes_floor = free_bytes_floor;
        self
    }

    /// Its lineage and revision; empty and 0 where it has none.
    fn state(&self) -> Result<(String, u64), EngineFault> {
        let value = |key| self.meta.get(key).map_err(|problem| broken(&self.dir, &problem));
        let lineage =
            value(tree::LINEAGE)?.map_or(Ok(String::new()), |value| tree::decode("lineage", &value))?;
        let revision = value(tree::REVISION)?.map_or(Ok(0), |value| tree::decode("revision", &value))?;
        Ok((lineage, revision))
    }

    fn space(&self) -> Result<(), EngineFault> {
        let seen = rustix::fs::statvfs(&self.dir)
            .map_err(|source| EngineFault::Directory { dir: self.dir.clone(), source: source.into() })?;
        let free_bytes = seen.f_bavail.saturating_mul(seen.f_frsize);
        if free_bytes < self.free_bytes_floor {
            let (dir, floor_bytes) = (self.dir.clone(), self.free_bytes_floor);
            return Err(EngineFault::Full { dir, free_bytes, floor_bytes });
        }
        Ok(())
    }
}

impl Engine for Disk {
    fn load(&mut self) -> Result<Records, EngineFault> {
        let list = |tree: &sled::Tree| {
            let rows = tree.iter().map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())));
            rows.collect::<Result<Vec<_>, _>>().map_err(|problem| broken(&self.dir, &problem))
        };
        let (lineage, revision) = self.state()?;
        self.witness.check(&self.dir, &lineage, revision)?;
        Ok(Records {
            meta: list(&self.meta)?,
            backends: list(&self.backends)?,
            routes: list(&self.routes)?,
            findings: list(&self.findings)?,
            planes: list(&self.planes)?,
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), EngineFault> {
        self.space()?;
        let all = (&self.meta, &self.backends, &self.routes, &self.journal, &self.findings, &self.planes);
        all.transaction(|(meta, backends, routes, journal, findings, planes)| {
            for (tree, key, value) in &batch.0 {
                let tree: &TransactionalTree = match tree {
                    Tree::Meta => meta,
                    Tree::Backends => backends,
                    Tree::Routes => routes,
                    Tree::Journal => journal,
                    Tree::Findings => findings,
                    Tree::Planes => planes,
                };
                match value {
                    Some(value) => tree.insert(key.as_slice(), value.as_slice())?,
                    None => tree.remove(key.as_slice())?,
                };
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        })
        .map_err(|problem| match problem {
            TransactionError::Abort(()) => EngineFault::Write("aborted".to_owned()),
            TransactionError::Storage(problem) => EngineFault::Write(problem.to_string()),
        })?;
        self.db.flush().map_err(|problem| EngineFault::Write(problem.to_string()))?;
        self.file.sync_data().map_err(|problem| EngineFault::Write(problem.to_string()))?;
        let (lineage, revision) = self.state()?;
        if let Err(problem) = self.witness.note(&lineage, revision) {
            tracing::warn!(%problem, "the note beside the store cannot be written");
        }
        Ok(())
    }
}

/// Our own lock before sled's: its type says that somebody else holds it.
fn lock(state_dir: &Path, home: &Path) -> Result<File, EngineFault> {
    let directory = |source| EngineFault::Directory { dir: state_dir.to_owned(), source };
    let path = home.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(directory)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EngineFault::Locked(state_dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(directory(source)),
    }
}

/// Opens; if that fails, once more without the index files, which only speed up the start; then gives up.
fn ladder(dir: &Path) -> Result<sled::Db, EngineFault> {
    let first = match attempt(dir) {
        Ok(db) => return Ok(db),
        Err(problem) => problem,
    };
    let moved = aside(dir).map_err(|source| EngineFault::Directory { dir: dir.to_owned(), source })?;
    if moved == 0 {
        return Err(EngineFault::Broken { dir: dir.to_owned(), problem: first });
    }
    tracing::warn!(dir = %dir.display(), problem = first, files = moved, "the store's index was torn: moved aside");
    attempt(dir).map_err(|problem| EngineFault::Broken { dir: dir.to_owned(), problem })
}

/// A torn file can make sled panic instead of answering; both are a failed attempt.
fn attempt(dir: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES_MAX)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .mode(sled::Mode::HighThroughput);
    let end = Instant::now() + RELEASED_WITHIN;
    loop {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Err(sled::Error::Io(_))) if Instant::now() < end => std::thread::sleep(RELEASED_WITHIN / 50),
            Ok(opened) => return opened.map_err(|problem| problem.to_string()),
            Err(_) => return Err("it could not be read at all".to_owned()),
        }
    }
}

/// Moves every `snap.*` into a directory of its own; how many there were.
fn aside(dir: &Path) -> io::Result<usize> {
    let mut torn = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            torn.push(entry.path());
        }
    }
    if torn.is_empty() {
        return Ok(0);
    }
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let place = dir.with_file_name(format!("store-torn-{at_ms}"));
    fs::create_dir_all(&place)?;
    for path in &torn {
        if let Some(name) = path.file_name() {
            fs::rename(path, place.join(name))?;
        }
    }
    Ok(torn.len())
}

fn broken(dir: &Path, problem: &sled::Error) -> EngineFault {
    EngineFault::Broken { dir: dir.to_owned(), problem: problem.to_string() }
}
