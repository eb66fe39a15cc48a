//! The tap reads the same from every cut of a stream, and no truncated stream looks complete.

use crate::golden::{Golden, answer, answers};
use wire::{Framing, Operation, Report, Tap};

fn read(golden: &Golden, chunks: &[&[u8]]) -> Report {
    let mut tap = golden.tap();
    chunks.iter().for_each(|chunk| tap.feed(chunk));
    tap.finish();
    tap.report().clone()
}

#[test]
fn every_answer_is_read_whole() {
    for golden in answers() {
        assert_eq!(read(&golden, &[&golden.bytes]), golden.expected, "{}", golden.name);
    }
}

#[test]
fn every_answer_is_read_byte_by_byte() {
    for golden in answers() {
        let bytes: Vec<&[u8]> = golden.bytes.chunks(1).collect();
        assert_eq!(read(&golden, &bytes), golden.expected, "{}", golden.name);
    }
}

#[test]
fn every_answer_is_read_at_every_cut() {
    for golden in answers() {
        for cut in 0..golden.bytes.len() {
            let (head, tail) = golden.bytes.split_at(cut);
            assert_eq!(read(&golden, &[head, tail]), golden.expected, "{} cut at {cut}", golden.name);
        }
    }
}

#[test]
fn no_truncated_answer_looks_complete() {
    for golden in answers() {
        let text = String::from_utf8_lossy(&golden.bytes).into_owned();
        // The element that ends the answer must be there to its last byte.
        let needed = golden.last.as_ref().map_or(text.len() + 1, |last| {
            let at = text.rfind(last.as_str()).unwrap_or_else(|| panic!("{}: no {last}", golden.name));
            text[at..].find(['\n', '\r']).map_or(text.len(), |line| at + line)
        });
        for end in 0..needed.min(text.len() + 1) {
            let report = read(&golden, &[&golden.bytes[..end]]);
            assert!(!report.complete, "{} looks complete after {end} bytes", golden.name);
        }
    }
}

#[test]
fn content_is_seen_with_its_chunk_and_not_before() {
    let cases = [
        ("chat-openai", "Hel"),
        ("chat-vllm", "\"Hm\""),
        ("chat-tools", "call_a"),
        ("responses-openai", "gAAAAB"),
        ("anthropic-tools", "Überlegung"),
        ("anthropic-tool-first", "toolu_1"),
        ("gemini-sse", "denkt"),
        ("gemini-array", "denkt"),
        ("ollama-chat", "Hm"),
        ("ollama-generate", " ja"),
    ];
    for (name, mark) in cases {
        let golden = answer(name);
        let text = String::from_utf8(golden.bytes.clone()).unwrap();
        let at = text.find(mark).unwrap();
        let mut tap = golden.tap();
        tap.feed(&golden.bytes[..at]);
        assert!(!tap.report().content, "{name}: content before {mark}");
        let end = at
            + text[at..]
                .find(if name == "gemini-array" { "]\n,\r\n" } else { "\n" })
                .map_or(0, |end| end + 12);
        tap.feed(&golden.bytes[at..end.min(golden.bytes.len())]);
        assert!(tap.report().content || name == "gemini-array", "{name}: no content at {mark}");
    }
}

#[test]
fn a_terminal_element_completes_before_the_end_of_the_body() {
    for name in ["chat-openai", "responses-openai", "anthropic-tools", "ollama-chat", "whole-chat"] {
        let golden = answer(name);
        let mut tap = golden.tap();
        tap.feed(&golden.bytes);
        assert!(tap.report().complete, "{name}");
    }
}

#[test]
fn usage_stays_untold_rather_than_zero() {
    let mut tap = Tap::new(Operation::Chat, Framing::Whole);
    tap.feed(br#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":null,"prompt_tokens_details":null}}"#);
    let usage = tap.report().usage;
    assert_eq!((usage.prompt, usage.cached, usage.output), (Some(0), None, None));
}

#[test]
fn aliases_of_cached_tokens_are_one_number() {
    for alias in ["cached_tokens", "cache_read_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens"]
    {
        for body in [
            format!(r#"{{"usage":{{"prompt_tokens":9,"{alias}":4}}}}"#),
            format!(
                r#"{{"usage":{{"prompt_tokens":9,"prompt_tokens_details":{{"{alias}":4}},"cached_tokens":9}}}}"#
            ),
        ] {
            let mut tap = Tap::new(Operation::Chat, Framing::Whole);
            tap.feed(body.as_bytes());
            assert_eq!(tap.report().usage.cached, Some(4), "{body}");
        }
    }
}

#[test]
fn numbers_without_sense_are_untold() {
    for number in ["-1", "1e400", "\"7\"", "null", "[]", "1e-400000000000000000000"] {
        let mut tap = Tap::new(Operation::Chat, Framing::Whole);
        tap.feed(format!(r#"{{"usage":{{"prompt_tokens":{number}}}}}"#).as_bytes());
        assert!(matches!(tap.report().usage.prompt, None | Some(0)), "{number}");
    }
}

#[test]
fn a_frame_beyond_the_bound_is_passed_over() {
    let mut tap = Tap::new(Operation::Chat, Framing::Sse);
    tap.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"");
    let mebibyte = vec![b'x'; 1 << 20];
    for _ in 0..17 {
        tap.feed(&mebibyte);
    }
    tap.feed(b"\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\ndata: [DONE]\n\n");
    assert!(tap.report().complete);
    assert_eq!(tap.report().usage.prompt, Some(3));
}

#[test]
fn an_event_named_error_is_one() {
    let cases = [
        ("event: error\ndata: {\"message\":\"m\",\"code\":500}\n\n", "m"),
        ("event: error\ndata: {\"error\":{\"message\":\"m\"}}\n\n", "m"),
        ("event:error\ndata: plain words\n\n", "plain words"),
        ("data: {\"object\":\"error\",\"message\":\"flat\",\"code\":400}\n\n", "flat"),
    ];
    for (text, message) in cases {
        let mut tap = Tap::new(Operation::Chat, Framing::Sse);
        tap.feed(text.as_bytes());
        assert_eq!(tap.report().error.as_deref(), Some(message), "{text}");
        assert!(!tap.report().complete);
    }
}

#[test]
fn counts_beyond_all_bounds_do_not_overflow() {
    let most = u64::MAX;
    let mut tap = Tap::new(Operation::Chat, Framing::Whole);
    tap.feed(format!(r#"{{"timings":{{"cache_n":{most},"prompt_n":{most}}}}}"#).as_bytes());
    assert_eq!(tap.report().usage.prompt, Some(most));
}

#[test]
fn an_element_that_is_no_json_is_told() {
    for golden in answers() {
        let mut tap = golden.tap();
        golden.bytes.chunks(7).for_each(|chunk| tap.feed(chunk));
        tap.finish();
        assert!(!tap.malformed(), "{}", golden.name);
    }
    for (operation, framing, text, malformed) in [
        (Operation::Chat, Framing::Sse, "data: {\"choices\": [{,}]}\n\n", true),
        (Operation::Chat, Framing::Sse, "data: oops\n\n", true),
        (Operation::Chat, Framing::Sse, "data: {\"choices\": [{,}]}", false),
        (Operation::Chat, Framing::Sse, ": oops\n\ndata:\n\ndata: null\n\ndata: [DONE]\n\n", false),
        (Operation::OllamaChat, Framing::Lines, "{\"message\": {,}}\n", true),
        (Operation::OllamaChat, Framing::Lines, "\n\n{}\n", false),
        (Operation::StreamGenerateContent, Framing::Array, "[{}, {\"candidates\": [,]}]", true),
        (Operation::StreamGenerateContent, Framing::Array, "[{}, {}]", false),
    ] {
        let mut tap = Tap::new(operation, framing);
        tap.feed(text.as_bytes());
        assert_eq!(tap.malformed(), malformed, "{text:?}");
        assert!(!tap.in_one_piece());
    }
    let mut tap = Tap::new(Operation::Chat, Framing::Sse);
    tap.feed(b"{\"error\"");
    assert!(tap.in_one_piece());
}

#[test]
fn an_object_behind_torn_text_is_no_answer() {
    let read = |chunks: &[&[u8]]| {
        let mut tap = Tap::new(Operation::Chat, Framing::Whole);
        chunks.iter().for_each(|chunk| tap.feed(chunk));
        tap.finish();
        tap.report().clone()
    };
    let object = br#"{"error":"Unexpected endpoint"}"#;
    for before in ["\"a", "\"a\\", "x", "  ", ""] {
        let cut = read(&[before.as_bytes(), object]);
        assert_eq!(cut, read(&[&[before.as_bytes(), object].concat()]), "{before:?}");
        assert_eq!(cut.complete, !before.contains('"'), "{before:?}");
    }
}

#[test]
fn blanks_before_an_answer_are_nothing_wherever_it_is_cut() {
    for (framing, body) in [
        (Framing::Sse, "\t\tdata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n"),
        (Framing::Lines, " \n {\"error\":\"x\"}\n"),
        (Framing::Array, "\n [{\"error\":\"x\"}]"),
        (Framing::Whole, "\n {\"error\":\"x\"}"),
    ] {
        let read = |size: usize| {
            let mut tap = Tap::new(Operation::Chat, framing);
            body.as_bytes().chunks(size).for_each(|chunk| tap.feed(chunk));
            tap.finish();
            tap.report().clone()
        };
        for size in 1..body.len() {
            assert_eq!(read(size), read(body.len()), "{framing:?} in chunks of {size}");
        }
    }
}
