//! Backends that the operator named.

use crate::model::{Backend, Desired};

/// Every backend of the configuration, in order of name.
pub fn backends(desired: &Desired) -> impl Iterator<Item = &Backend> {
    desired.backends.values().map(|record| &record.value)
}
