//! Blocks that must stay as they are over releases: data planes of two releases share one index.

use std::fmt::Write;

use super::of;
use crate::golden::data;
use wire::{Block, Operation};

/// Requests whose blocks are written down.
const REQUESTS: [(&str, Operation); 10] = [
    ("anthropic", Operation::Messages),
    ("chat", Operation::Chat),
    ("completions", Operation::Completions),
    ("cursor", Operation::Chat),
    ("gemini", Operation::GenerateContent),
    ("ollama", Operation::OllamaChat),
    ("responses", Operation::Responses),
    ("prefix-tools", Operation::Chat),
    ("prefix-turns", Operation::Messages),
    ("prefix-long", Operation::OllamaGenerate),
];

fn table() -> String {
    let mut table = String::new();
    for (name, operation) in REQUESTS {
        writeln!(table, "{name} {}", operation.name()).unwrap();
        for Block { hash, tokens, own } in of(operation, &data(&format!("requests/{name}.json")), 0) {
            writeln!(table, "  {hash:016x} {tokens}{}", if own { " own" } else { "" }).unwrap();
        }
    }
    table
}

#[test]
fn blocks_stay_as_they_are() {
    let expected = String::from_utf8(data("prefix.txt")).unwrap();
    let table = table();
    assert_eq!(table, expected, "blocks of salt 0 have changed; now they are:\n{table}");
}

/// One block by hand: what is rendered of one text of the user.
#[test]
fn a_block_is_the_hash_of_its_rendering() {
    let body =
        br#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}"#;
    let first = xxhash_rust::xxh3::xxh3_64_with_seed(b"\xffuxhi", 7);
    let second = xxhash_rust::xxh3::xxh3_64_with_seed(b"\xffaxho", first);
    let expected =
        [Block { hash: first, tokens: 1, own: false }, Block { hash: second, tokens: 0, own: true }];
    assert_eq!(of(Operation::Chat, body, 7), expected);
}
