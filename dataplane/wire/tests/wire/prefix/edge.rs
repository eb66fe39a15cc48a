//! Long texts, many messages, prompts without messages, and what cannot be read.

use serde_json::json;
use wire::prefix::BLOCK_BYTES;
use wire::{BLOCKS_MAX, Block, Operation, blocks, read};

use super::{common, messages, of};

#[test]
fn long_texts_are_cut_and_share_what_they_begin_with() {
    let text = "0123456789abcdef".repeat(3 * BLOCK_BYTES / 16);
    let prompt = |text: &str| {
        let body = json!({ "model": "m", "prompt": text }).to_string();
        of(Operation::Completions, body.as_bytes(), 0)
    };
    let whole = prompt(&text);
    assert_eq!(whole.len(), 4);
    let longer = prompt(&(text.clone() + "more"));
    assert_eq!(common(&whole, &longer), 3);
    assert_eq!(whole.iter().map(|block| block.tokens).sum::<u32>() as usize, text.len() / 4);
    // The mark of the part takes three bytes of the first block.
    let full = &text[..BLOCK_BYTES - 3];
    assert_eq!(prompt(full)[..], whole[..1]);
    assert_eq!(common(&prompt(&text[..BLOCK_BYTES - 4]), &whole), 0);
    let answer = of(
        Operation::Chat,
        json!({ "model": "m", "messages": [{ "role": "assistant", "content": text }] })
            .to_string()
            .as_bytes(),
        0,
    );
    assert!(answer.len() == 4 && answer.iter().all(|block| block.own));
}

#[test]
fn blocks_are_bounded() {
    let many = vec![r#"{"role":"user","content":"hi"}"#; BLOCKS_MAX + 1].join(",");
    let mut out = vec![Block { hash: 1, tokens: 2, own: false }];
    blocks(Operation::Chat, format!(r#"{{"model":"m","messages":[{many}]}}"#).as_bytes(), 0, &mut out);
    assert_eq!(out.len(), 1 + BLOCKS_MAX);
    let long = json!({ "model": "m", "prompt": "x".repeat((BLOCKS_MAX + 2) * BLOCK_BYTES) }).to_string();
    assert_eq!(of(Operation::Completions, long.as_bytes(), 0).len(), BLOCKS_MAX);
}

#[test]
fn prompts_without_messages() {
    let one = |operation, body: &str| of(operation, body.as_bytes(), 0);
    let generate = one(Operation::OllamaGenerate, r#"{"model":"m","prompt":"hi","system":"be brief"}"#);
    assert_eq!(
        generate,
        messages(r#"{"role":"system","content":"be brief"},{"role":"user","content":"hi"}"#)
    );
    let raw = one(Operation::OllamaGenerate, r#"{"model":"m","prompt":"hi","raw":true}"#);
    assert_eq!(raw, one(Operation::Completions, r#"{"model":"m","prompt":"hi"}"#));
    assert_ne!(raw, messages(r#"{"role":"user","content":"hi"}"#));
    // Of several prompts the first, since each has an answer of its own.
    assert_eq!(raw, one(Operation::Completions, r#"{"model":"m","prompt":["hi","there"]}"#));
    let tokens = one(Operation::Completions, r#"{"model":"m","prompt":[1,22,333]}"#);
    assert_eq!(tokens.iter().map(|block| block.tokens).sum::<u32>(), 3);
    assert_eq!(tokens, one(Operation::Completions, r#"{"model":"m","prompt":[[1, 22,333],[4]]}"#));
    let context = |count: usize| {
        let body =
            json!({ "model": "m", "prompt": "x", "context": (100_000..100_000 + count).collect::<Vec<_>>() });
        one(Operation::OllamaGenerate, &body.to_string())
    };
    assert_eq!(common(&context(2000), &context(3000)), 3);
    for operation in Operation::ALL.into_iter().filter(|operation| !operation.generates()) {
        let body = r#"{"model":"m","input":"a","prompt":"a","content":{"parts":[{"text":"a"}]},"messages":[{"role":"user","content":"a"}]}"#;
        assert_eq!(one(operation, body), [], "{operation:?}");
    }
}

#[test]
fn what_cannot_be_read_ends_the_blocks() {
    let start = messages(r#"{"role":"user","content":"a"}"#);
    let torn: [&[u8]; 5] = [
        br#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":"#,
        br#"{"messages":[{"role":"user","content":"a"},"#,
        br#"{"messages":[{"role":"user","content":"a"},nope]}"#,
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"\xff\"}]}",
        br#"{"model":1,"model":2,"messages":[{"role":"user","content":"a"}]}"#,
    ];
    for body in &torn[..4] {
        assert_eq!(of(Operation::Chat, body, 0), start, "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(of(Operation::Chat, torn[4], 0), []);
    let deep = format!(
        r#"{{"messages":[{{"role":"user","content":"a"}},{}"#,
        r#"{"content":[{"content":["#.repeat(100)
    );
    assert_eq!(of(Operation::Chat, deep.as_bytes(), 0), start);
    let nothing: [&[u8]; 6] = [b"", b"[]", b"{", b"\xff", b"null", br#"{"messages":{}}"#];
    assert!(nothing.iter().all(|body| of(Operation::Chat, body, 0).is_empty()));
    // Of another body: whatever stands there, and no panic.
    let ask = read(
        Operation::Chat,
        None,
        br#"{"model":"m","tools":[],"messages":[{"role":"user","content":"a"}]}"#,
    )
    .unwrap();
    for text in ["{}", "ääääääääääääääääääääääää", &"\"".repeat(99), &"[".repeat(999)]
    {
        ask.blocks(Operation::Chat, text, 0, &mut Vec::new());
    }
}

/// A text of several blocks, whatever is escaped in it, and as what it came.
#[test]
fn long_texts_with_escapes_are_cut_alike() {
    let code = "fn main() {\n\tprintln!(\"{}\\n\", 'ü');\n}\u{1}\n".repeat(400);
    let by = |text: String| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
        of(Operation::Chat, body.as_bytes(), 3)
    };
    let short = serde_json::to_string(&code).unwrap();
    let expected = by(short[1..short.len() - 1].to_owned());
    assert!(expected.len() > 4, "{}", expected.len());
    assert_eq!(by(code.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()), expected);

    let result = json!({ "lines": vec![&code; 3] });
    let gemini = json!({ "contents": [{ "role": "user", "parts": [
        { "functionResponse": { "name": "f", "response": result } }] }] });
    let chat = json!({ "model": "m", "messages": [
        { "role": "tool", "tool_call_id": "1", "content": result.to_string() }] });
    let gemini = of(Operation::GenerateContent, gemini.to_string().as_bytes(), 3);
    assert_eq!(of(Operation::Chat, chat.to_string().as_bytes(), 3), gemini);
    assert!(gemini.len() > 12, "{}", gemini.len());
}
