//! Fuzz target: see src/answer.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::answer::run(input));
