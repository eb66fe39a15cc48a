//! Discovery: which backends there are.

pub mod fixed;
