//! Numbers for the names of backends and data planes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sched::{BackendId, permit::PlaneId};

/// Distinct names of a kind that one process will ever number.
pub const NAMES_MAX: usize = 1 << 20;
/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 63;

/// The core knows backends and data planes by numbers that hold within one process; on the wire they have their names.
/// One table for the life of the process.
#[derive(Debug, Default)]
pub struct Names {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    backends: Table,
    planes: Table,
}

#[derive(Debug, Default)]
struct Table {
    numbers: BTreeMap<Arc<str>, u32>,
    /// By number; at most `NAMES_MAX`.
    names: Vec<Arc<str>>,
}

impl Table {
    fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return None;
        }
        if self.names.len() >= NAMES_MAX {
            tracing::error!(name, limit = NAMES_MAX, "too many names for one process: restart it");
            return None;
        }
        let number = u32::try_from(self.names.len()).expect("NAMES_MAX fits into 32 bits");
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        Some(number)
    }

    fn name(&self, number: u32) -> Option<Arc<str>> {
        self.names.get(number as usize).cloned()
    }
}

impl Names {
    /// The number of a backend, which is given when it has none. `None`: the name is empty or longer than
    /// [`NAME_BYTES_MAX`], or there are [`NAMES_MAX`] others.
    pub fn backend(&self, name: &str) -> Option<BackendId> {
        self.tables().backends.number(name).map(BackendId)
    }

    /// The same of a data plane.
    pub fn plane(&self, name: &str) -> Option<PlaneId> {
        self.tables().planes.number(name).map(PlaneId)
    }

    /// The number of a data plane that has one.
    pub fn known(&self, name: &str) -> Option<PlaneId> {
        self.tables().planes.numbers.get(name).copied().map(PlaneId)
    }

    /// The name of a backend.
    pub fn backend_name(&self, id: BackendId) -> Option<Arc<str>> {
        self.tables().backends.name(id.0)
    }

    /// The name of a data plane.
    pub fn plane_name(&self, id: PlaneId) -> Option<Arc<str>> {
        self.tables().planes.name(id.0)
    }

    /// A panic while it was held leaves a table that is whole or lacks one name.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_kinds_have_their_own() {
        let names = Names::default();
        assert_eq!(names.backend("a"), Some(BackendId(0)));
        assert_eq!(names.backend("b"), Some(BackendId(1)));
        assert_eq!(names.backend("a"), Some(BackendId(0)));
        assert_eq!(names.known("a"), None);
        assert_eq!(names.plane("b"), Some(PlaneId(0)));
        assert_eq!(names.known("b"), Some(PlaneId(0)));
        assert_eq!(names.backend_name(BackendId(1)).as_deref(), Some("b"));
        assert_eq!(names.plane_name(PlaneId(0)).as_deref(), Some("b"));
        assert_eq!((names.backend_name(BackendId(2)), names.plane_name(PlaneId(1))), (None, None));
        assert_eq!((names.backend(""), names.plane(&"x".repeat(64))), (None, None));
    }
}
