//! A simulated network of data planes around the very permit protocol: faults by a seed, laws after every event.

pub mod chaos;
pub mod control;
pub mod core;
pub mod fifo;
pub mod judge;
pub mod net;
pub mod plane;
pub mod rush;
pub mod world;
