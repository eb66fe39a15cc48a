//! The configuration: every resource with the revision at which it last changed.

use std::{collections::BTreeMap, sync::Arc};

use super::{Backend, Change, Matcher, Name, Refusal, Route, Scheduling, Written, change};

/// A resource and the revision at which it last changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record<T> {
    /// The revision of the configuration then.
    pub revision: u64,
    /// The resource.
    pub value: T,
}

/// The whole configuration at one revision. A clone shares its records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// Counts the changes; 0: none yet.
    pub revision: u64,
    /// By name.
    pub backends: BTreeMap<Name, Arc<Record<Backend>>>,
    /// By name.
    pub routes: BTreeMap<Name, Arc<Record<Route>>>,
    /// At revision 0 nothing of it was ever set.
    pub scheduling: Record<Scheduling>,
}

impl Desired {
    /// What a change writes, and the configuration after it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn made(&self, change: &Change) -> Result<(Written, Desired), Refusal> {
        change::made(self, change)
    }

    /// Makes a change, completely or not at all.
    ///
    /// # Errors
    /// [`Refusal`]; the configuration is as before.
    #[cfg(test)]
    pub fn make(&mut self, change: &Change) -> Result<Written, Refusal> {
        let (written, next) = self.made(change)?;
        *self = next;
        Ok(written)
    }

    /// The routes in the order in which they are tried: exact ones by name, then patterns by falling precedence.
    #[must_use]
    pub fn routes_in_order(&self) -> Vec<&Arc<Record<Route>>> {
        let mut routes: Vec<&Arc<Record<Route>>> = self.routes.values().collect();
        routes.sort_by_key(|record| match record.value.matcher {
            Matcher::Exact(_) => (false, 0, record.value.name.clone()),
            Matcher::Pattern(_) => (true, -record.value.precedence, record.value.name.clone()),
        });
        routes
    }
}
