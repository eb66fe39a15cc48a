//! Dialects: bytes in, values out; no I/O.
