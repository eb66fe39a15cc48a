//! The durable store: one writer, group commit, flushed before the answer.

mod commit;
pub mod disk;
pub mod engine;
pub mod finding;
#[cfg(test)]
pub mod memory;
mod tree;
mod witness;

pub use commit::{Store, StoreFault};
pub use engine::{EngineFault, Identity};

#[cfg(test)]
mod tests;
