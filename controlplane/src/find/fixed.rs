//! Backends that the operator named.

use std::sync::Arc;

use crate::model::{Backend, Desired, Name, Record};

/// Every backend of the configuration, in order of name.
pub fn backends(desired: &Desired) -> impl Iterator<Item = (&Name, &Arc<Record<Backend>>)> {
    desired.backends.iter()
}
