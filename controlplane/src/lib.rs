//! The control plane: backends and routes in a durable store, probing, planning, publishing, the management API.

mod api;
pub mod app;
mod find;
mod fleet;
mod model;
mod plan;
mod probe;
mod publish;
mod store;
mod web;
