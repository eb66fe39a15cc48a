//! The rig, the simulator and the laws that the tests share.

pub mod rig;
pub mod script;
