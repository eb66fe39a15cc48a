//! The rig, the simulator and the laws that the tests share.

pub mod cable;
pub mod cluster;
pub mod crowd;
pub mod feed;
pub mod laws;
pub mod ledger;
pub mod process;
pub mod rig;
pub mod script;
pub mod world;
