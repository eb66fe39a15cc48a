//! The data plane: serves clients, queues, places and forwards requests by the snapshot it follows.

pub mod app;
pub mod coding;
pub mod config;
pub mod deadline;
pub mod dispatch;
pub mod journal;
mod limits;
pub mod peer;
mod provider;
mod relay;
mod report;
pub mod route;
mod serve;
mod upstream;
mod wake;
