//! The scheduling core: events in, decisions out; no I/O, no clock, no threads, no dependencies.
