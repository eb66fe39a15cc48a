//! What each fuzz target does with its input: real assertions, shared with the replay of the corpora.

pub mod answer;
pub mod config;
pub mod frame;
pub mod intake;
pub mod json;
pub mod read;
pub mod route;

/// A target's body: takes any bytes and panics where a promise is broken.
pub type Body = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Body); 6] = [
    ("intake", intake::run),
    ("frame", frame::run),
    ("read", read::run),
    ("answer", answer::run),
    ("route", route::run),
    ("config", config::run),
];

/// Takes the first byte off, 0 where there is none: a choice of the fuzzer.
pub(crate) fn choice(input: &mut &[u8]) -> usize {
    let Some((first, rest)) = input.split_first() else { return 0 };
    *input = rest;
    usize::from(*first)
}

/// The bytes cut where two choices say.
pub(crate) fn cut(bytes: &[u8], one: usize, other: usize) -> [&[u8]; 3] {
    let at = |choice: usize| choice * (bytes.len() + 1) / 256;
    let (one, other) = (at(one.min(other)), at(one.max(other)));
    [&bytes[..one], &bytes[one..other], &bytes[other..]]
}
