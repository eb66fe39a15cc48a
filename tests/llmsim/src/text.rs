//! Text, vectors and token counts that follow from the prompt alone.

/// Bytes of text that count as one token.
pub const TOKEN_BYTES: usize = 4;
/// Numbers in an embedding where the request names no dimension.
pub const DIMENSIONS: usize = 8;
/// The most numbers in an embedding.
pub const DIMENSIONS_MAX: usize = 4096;

const WORDS: [&str; 32] = [
    "a", "slot", "is", "free", "when", "the", "queue", "moves", "und", "grün", "naïve", "so", "we", "wait",
    "for", "one", "more", "token", "漢字", "then", "it", "ends", "well", "in", "time", "of", "rain", "light",
    "north", "warm", "stone", "😀",
];

/// Tokens of so many bytes, rounded up.
pub fn tokens(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u32::MAX)
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The next number of a splitmix64 sequence.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `count` tokens of an answer: words, each but the first with a space before it.
pub fn words(seed: u64, count: u32) -> Vec<String> {
    let mut state = seed;
    (0..count)
        .map(|index| {
            let word = WORDS[next(&mut state) as usize % WORDS.len()];
            if index == 0 { word.to_owned() } else { format!(" {word}") }
        })
        .collect()
}

/// A unit vector for a text.
pub fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = hash(text.as_bytes());
    let raw: Vec<f64> =
        (0..dimensions).map(|_| next(&mut state) as f64 / u64::MAX as f64 * 2.0 - 1.0).collect();
    let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    raw.iter().map(|x| (x / length) as f32).collect()
}

/// Little-endian `f32`s in base64, as the OpenAI SDKs ask for.
pub fn base64_floats(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    base64(&bytes)
}

/// Lower-case hex digits that follow from a seed.
pub fn hex(seed: u64, digits: usize) -> String {
    let mut state = seed;
    let mut out = String::with_capacity(digits + 16);
    while out.len() < digits {
        out.push_str(&format!("{:016x}", next(&mut state)));
    }
    out.truncate(digits);
    out
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let packed =
            group.iter().fold(0u32, |packed, byte| packed << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            if place <= group.len() {
                out.push(char::from(ALPHABET[(packed >> (18 - 6 * place)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_the_standard_says() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_same_prompt_gives_the_same_words() {
        assert_eq!(words(7, 5), words(7, 5));
        assert_ne!(words(7, 5), words(8, 5));
        assert_eq!(words(7, 9)[..5], words(7, 5));
    }

    #[test]
    fn vectors_have_length_one() {
        let vector = vector("x", 64);
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-4);
    }

    #[test]
    fn tokens_round_up() {
        assert_eq!([0, 1, 4, 5].map(tokens), [0, 1, 1, 2]);
    }
}
