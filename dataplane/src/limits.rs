//! What the system allows this process, raised to what it may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asked for where the system names no limit: enough for half a million running requests.
const FILES_MAX: u64 = 1 << 20;
/// A data plane with fewer says so: a running request holds two connections.
const FILES_FEW: u64 = 8192;

/// Raises the soft limit of open files to the hard one, and logs what was reached.
pub fn raise_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(FILES_MAX);
    let had = current.unwrap_or(u64::MAX);
    let mut files = had;
    if had < wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
            Ok(()) => files = wanted,
            Err(error) => tracing::warn!(%error, wanted, had, "the limit of open files cannot be raised"),
        }
    }
    if files < FILES_FEW {
        tracing::warn!(
            files,
            "few open files are allowed: a running request takes two, raise the limit (ulimit -Hn)"
        );
    } else {
        tracing::info!(files, "open files allowed");
    }
}
