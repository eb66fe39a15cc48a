//! Fuzz target: see src/route.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::route::run(input));
