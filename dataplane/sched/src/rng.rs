//! Chance: a fixed mixing of a seed with what is to be drawn for.

/// A number that looks random and depends on the three alone, so that a draw does not depend on history.
/// The steps are those of splitmix64 (Steele, Lea and Flood 2014).
pub(crate) fn draw(seed: u64, ticket: u64, backend: u64) -> u64 {
    mix(mix(mix(seed) ^ ticket) ^ backend)
}

fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
