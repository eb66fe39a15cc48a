//! The wire crate, driven by recorded bytes and tables.

#![cfg(test)]

mod edits;
mod fault;
mod first;
mod frame;
mod golden;
mod hostile;
mod list;
mod pattern;
mod prefix;
mod read;
mod strip;
mod tap;
mod target;
