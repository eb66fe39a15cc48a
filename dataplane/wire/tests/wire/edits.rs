//! Edits change what they name and nothing else.

use crate::golden::data;
use bytes::Bytes;
use wire::{Ask, Edits, Operation, read};

fn request(name: &str) -> String {
    String::from_utf8(data(&format!("requests/{name}.json"))).unwrap()
}

fn asked(operation: Operation, path_model: Option<&str>, body: &str) -> Ask {
    read(operation, path_model, body.as_bytes()).unwrap()
}

fn edited(edits: &Edits, body: &str) -> String {
    String::from_utf8(edits.apply(Bytes::copy_from_slice(body.as_bytes())).to_vec()).unwrap()
}

const REQUESTS: [(&str, Operation, Option<&str>); 10] = [
    ("chat", Operation::Chat, None),
    ("cursor", Operation::Chat, None),
    ("responses", Operation::Responses, None),
    ("completions", Operation::Completions, None),
    ("embeddings", Operation::Embeddings, None),
    ("anthropic", Operation::Messages, None),
    ("anthropic", Operation::CountTokens, None),
    ("gemini", Operation::GenerateContent, Some("m")),
    ("gemini-batch", Operation::BatchEmbedContents, Some("text-embedding-004")),
    ("ollama", Operation::OllamaChat, None),
];

#[test]
fn without_edits_the_very_same_bytes_pass() {
    for (name, operation, path) in REQUESTS {
        let body = Bytes::from(request(name));
        let ask = asked(operation, path, &request(name));
        let edits = Edits::plan(operation, &ask, &ask.model, false, false);
        assert!(edits.is_empty() && !edits.added_usage(), "{name}");
        assert_eq!(edits.apply(body.clone()).as_ptr(), body.as_ptr(), "{name}");
    }
}

#[test]
fn the_model_alone_is_renamed() {
    for (name, operation, path) in REQUESTS {
        let body = request(name);
        let ask = asked(operation, path, &body);
        let edits = Edits::plan(operation, &ask, "box/größe \"8b\"", false, false);
        let expected = match name {
            "gemini" => body.clone(),
            "gemini-batch" => {
                body.replace("\"models/text-embedding-004\"", "\"models/box/größe \\\"8b\\\"\"")
            }
            _ => body.replacen(&format!("\"{}\"", ask.model), "\"box/größe \\\"8b\\\"\"", 1),
        };
        assert_eq!(edited(&edits, &body), expected, "{name}");
        assert!(name == "gemini" || expected != body, "{name}");
    }
}

#[test]
fn usage_is_asked_for_where_the_client_did_not() {
    let ask_all = r#""stream_options":{"include_usage":true},"#;
    let cases = [
        (String::new(), Some(format!("{{{ask_all}\"model\":\"m\",\"messages\":[],\"stream\":true}}"))),
        (r#","stream_options":null"#.to_owned(), Some(inside(r#"{"include_usage":true}"#))),
        (r#","stream_options":{}"#.to_owned(), Some(inside(r#"{"include_usage":true}"#))),
        (r#","stream_options":{ "x":1}"#.to_owned(), Some(inside(r#"{"include_usage":true, "x":1}"#))),
        (
            r#","stream_options":{"include_usage":false}"#.to_owned(),
            Some(inside(r#"{"include_usage":true}"#)),
        ),
        (
            r#","stream_options":{"include_usage": null }"#.to_owned(),
            Some(inside(r#"{"include_usage": true }"#)),
        ),
        (r#","stream_options":{"include_usage":true}"#.to_owned(), None),
        (r#","stream_options":"odd""#.to_owned(), None),
    ];
    for (options, expected) in cases {
        let body = format!(r#"{{"model":"m","messages":[],"stream":true{options}}}"#);
        let ask = asked(Operation::Chat, None, &body);
        let edits = Edits::plan(Operation::Chat, &ask, "m", true, false);
        assert_eq!(edits.added_usage(), expected.is_some(), "{body}");
        assert_eq!(edited(&edits, &body), expected.unwrap_or_else(|| body.clone()), "{body}");
        serde_json::from_str::<serde_json::Value>(&edited(&edits, &body)).unwrap();
    }
}

fn inside(options: &str) -> String {
    format!(r#"{{"model":"m","messages":[],"stream":true,"stream_options":{options}}}"#)
}

#[test]
fn usage_is_not_asked_for_without_a_stream_or_in_other_dialects() {
    let whole = r#"{"model":"m","messages":[]}"#;
    assert!(Edits::plan(Operation::Chat, &asked(Operation::Chat, None, whole), "m", true, false).is_empty());
    for (name, operation, path) in REQUESTS {
        let body = request(name);
        let ask = asked(operation, path, &body);
        let edits = Edits::plan(operation, &ask, &ask.model, true, false);
        assert_eq!(edits.added_usage(), matches!(name, "chat" | "completions"), "{name}");
    }
}

#[test]
fn the_billing_block_goes_only_when_told() {
    let body = request("anthropic");
    let ask = asked(Operation::Messages, None, &body);
    let edits = Edits::plan(Operation::Messages, &ask, &ask.model, false, true);
    let start = body.find("{\"type\":\"text\",\"text\":\"x-anthropic").unwrap();
    let end = body.find("{\"type\":\"text\",\"text\":\"You are").unwrap();
    assert_eq!(edited(&edits, &body), format!("{}{}", &body[..start], &body[end..]));
}

#[test]
fn all_edits_together() {
    let body = request("chat");
    let ask = asked(Operation::Chat, None, &body);
    let edits = Edits::plan(Operation::Chat, &ask, "qwen3:8b", true, true);
    let expected = body.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1).replacen(
        "\"gpt-5.2\"",
        "\"qwen3:8b\"",
        1,
    );
    assert_eq!(edited(&edits, &body), expected);
}

#[test]
fn a_model_named_by_the_path_gets_into_the_body() {
    let cases = [
        (r#"{"messages":[]}"#, "dep", r#"{"model":"dep","messages":[]}"#),
        (r#"{"messages":[]}"#, "other", r#"{"model":"other","messages":[]}"#),
        (r#"{"model":"x","messages":[]}"#, "dep", r#"{"model":"dep","messages":[]}"#),
        (r#"{"model":"dep","messages":[]}"#, "dep", r#"{"model":"dep","messages":[]}"#),
    ];
    for (body, at_backend, expected) in cases {
        let ask = asked(Operation::Chat, Some("dep"), body);
        assert_eq!(
            edited(&Edits::plan(Operation::Chat, &ask, at_backend, true, true), body),
            expected,
            "{body}"
        );
    }
}
