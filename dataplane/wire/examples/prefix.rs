//! What the blocks of a prompt cost: `cargo run --release -p wire --example prefix`, or under callgrind with a name.
//!
//! Without arguments it prints GB/s of body and microseconds, per dialect and kind of text, of reading and of the
//! blocks alone. `prefix KIND ROUNDS read|blocks` does one of them so many times, for a count of instructions.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::{Block, Operation, read, text};

const SHORT: usize = 1000;
const LONG: usize = 400_000;
/// How long one kind is measured, and a span of it.
const TRIED: Duration = Duration::from_millis(400);
const SPAN: Duration = Duration::from_micros(200);

const PROSE: &str =
    "The quick brown fox jumps over the lazy dog and then it reads the newspaper until noon. ";
const CODE: &str =
    "    if let Some(\"name\") = self.names.get(&id) {\n        return Ok(name.clone());\n    }\n";
const FOREIGN: &str = "Größe und Maß: съешь ещё этих мягких французских булок 🦙. ";

/// A conversation of turns of 2,000 bytes in the messages of OpenAI, Anthropic and Ollama.
fn messages(text: &str, bytes: usize) -> Value {
    let turn = text.repeat(2000usize.min(bytes).div_ceil(text.len()));
    let turns = bytes.div_ceil(turn.len());
    let role = |index| if index % 2 == 0 { "user" } else { "assistant" };
    (0..turns).map(|index| json!({ "role": role(index), "content": turn })).collect()
}

fn parts(text: &str, bytes: usize) -> Value {
    let mut all = messages(text, bytes);
    for message in all.as_array_mut().expect("a list") {
        message["content"] = json!([{ "type": "text", "text": message["content"].take() }]);
    }
    all
}

fn gemini(text: &str, bytes: usize) -> Value {
    let mut all = messages(text, bytes);
    for message in all.as_array_mut().expect("a list") {
        let text = message["content"].take();
        *message = json!({ "role": message["role"], "parts": [{ "text": text }] });
    }
    all
}

/// Every character beyond ASCII as `\u`.
fn ascii(body: &str) -> String {
    let mut units = [0; 2];
    body.chars().fold(String::new(), |mut all, one| {
        if one.is_ascii() {
            all.push(one);
        } else {
            all.extend(one.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
        all
    })
}

fn tool_turns(bytes: usize) -> Value {
    let turns = bytes / 2100;
    let all = (0..turns).flat_map(|index| {
        let arguments = json!({ "path": format!("src/{index}.rs"), "text": CODE.repeat(10) }).to_string();
        let call = json!({ "id": format!("c{index}"), "type": "function", "function": { "name": "edit", "arguments": arguments } });
        [
            json!({ "role": "assistant", "content": "I change this.", "tool_calls": [call] }),
            json!({ "role": "tool", "tool_call_id": format!("c{index}"), "content": CODE.repeat(10) }),
        ]
    });
    all.collect()
}

type Make = fn() -> Value;

/// A body to be made: its name, what it asks and how it is made.
const KINDS: [(&str, Operation, Make); 16] = [
    ("chat-1k", Operation::Chat, || chat(messages(PROSE, SHORT))),
    ("anthropic-1k", Operation::Messages, || chat(parts(PROSE, SHORT))),
    ("chat", Operation::Chat, || chat(messages(PROSE, LONG))),
    ("chat-one-text", Operation::Chat, || chat(json!([{ "role": "user", "content": long() }]))),
    ("chat-parts", Operation::Chat, || chat(parts(PROSE, LONG))),
    ("responses", Operation::Responses, || json!({ "model": "m", "input": messages(PROSE, LONG) })),
    ("anthropic", Operation::Messages, || chat(parts(PROSE, LONG))),
    ("gemini", Operation::GenerateContent, || json!({ "contents": gemini(PROSE, LONG) })),
    ("ollama", Operation::OllamaChat, || chat(messages(PROSE, LONG))),
    ("completions", Operation::Completions, || json!({ "model": "m", "prompt": long() })),
    ("chat-code", Operation::Chat, || chat(messages(CODE, LONG))),
    ("anthropic-code", Operation::Messages, || chat(parts(CODE, LONG))),
    ("chat-tools", Operation::Chat, || chat(tool_turns(LONG))),
    ("chat-foreign", Operation::Chat, || chat(messages(FOREIGN, LONG))),
    (ESCAPED, Operation::Chat, || chat(messages(FOREIGN, LONG))),
    ("chat-picture", Operation::Chat, || chat(picture())),
];

/// The one whose characters beyond ASCII are all escaped.
const ESCAPED: &str = "chat-foreign-escaped";

fn chat(messages: Value) -> Value {
    json!({ "model": "m", "messages": messages })
}

fn long() -> String {
    PROSE.repeat(LONG / PROSE.len())
}

fn picture() -> Value {
    let url = format!("data:image/png;base64,iVBORw0KGgo{}", "abcd".repeat(LONG / 4));
    json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": url } }] }])
}

fn body(name: &str, make: Make) -> Vec<u8> {
    let body = make().to_string();
    if name == ESCAPED { ascii(&body).into_bytes() } else { body.into_bytes() }
}

/// Seconds of one call: the least of many short spans, so that other work on the machine does not count.
fn seconds(mut work: impl FnMut()) -> f64 {
    let (all, mut least) = (Instant::now(), f64::MAX);
    while all.elapsed() < TRIED {
        let (start, mut rounds) = (Instant::now(), 0);
        while start.elapsed() < SPAN {
            work();
            rounds += 1;
        }
        least = least.min(start.elapsed().as_secs_f64() / f64::from(rounds));
    }
    least
}

fn table() {
    println!(
        "{:<22}{:>8}{:>8}{:>10}{:>10}{:>10}{:>10}",
        "kind", "bytes", "blocks", "read GB/s", "µs", "blocks GB/s", "µs"
    );
    for (name, operation, make) in KINDS {
        let body = body(name, make);
        let ask = read(operation, Some("m"), &body).expect("the body is a request");
        let text = text(&body).expect("JSON is UTF-8");
        let mut blocks: Vec<Block> = Vec::new();
        let reading = seconds(|| {
            black_box(read(operation, Some("m"), black_box(&body)).is_ok());
        });
        let hashing = seconds(|| {
            blocks.clear();
            ask.blocks(operation, black_box(text), 1, &mut blocks);
        });
        let rate = |seconds: f64| body.len() as f64 / seconds / 1e9;
        println!(
            "{name:<22}{:>8}{:>8}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
            body.len(),
            blocks.len(),
            rate(reading),
            reading * 1e6,
            rate(hashing),
            hashing * 1e6
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, rounds, what] = arguments.as_slice() else { return table() };
    let found = KINDS.into_iter().find(|(name, ..)| name == kind);
    let (name, operation, make) = found.expect("the first argument is a kind");
    let body = body(name, make);
    let rounds: u32 = rounds.parse().expect("the second argument is a number of rounds");
    let ask = read(operation, Some("m"), &body).expect("the body is a request");
    let text = text(&body).expect("JSON is UTF-8");
    let mut blocks: Vec<Block> = Vec::new();
    for _ in 0..rounds {
        if what == "read" {
            black_box(read(operation, Some("m"), black_box(&body)).is_ok());
        } else {
            blocks.clear();
            ask.blocks(operation, black_box(text), 1, &mut blocks);
        }
    }
    println!("{kind}: {} bytes, {} blocks", body.len(), blocks.len());
}
