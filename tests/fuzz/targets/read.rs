//! Fuzz target: see src/read.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::read::run(input));
