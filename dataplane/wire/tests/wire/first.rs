//! An error that comes first with status 200 is told from content as early as the bytes allow.

use crate::golden::{answer, answers};
use wire::{First, Framing, Operation, Tap, first_element};

fn error(status: u16, message: &str) -> First {
    First::Error { status, message: message.to_owned() }
}

fn harmless(body: &str) -> bool {
    let mut tap = Tap::new(Operation::Chat, Framing::Whole);
    tap.feed(body.as_bytes());
    tap.harmless()
}

#[test]
fn first_elements() {
    let whole = [
        (
            r#"{"error":"Unexpected endpoint or method. (POST /x)"}"#,
            error(502, "Unexpected endpoint or method. (POST /x)"),
        ),
        (r#"{"error":{"message":"no","type":"not_found_error","param":null,"code":null}}"#, error(404, "no")),
        (
            r#"{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}"#,
            error(400, "too long"),
        ),
        (r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#, error(429, "slow down")),
        (r#"{"error":{"message":"bad key","code":"401"}}"#, error(502, "bad key")),
        (r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#, error(503, "busy")),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            error(503, "Overloaded"),
        ),
        (
            r#"{"object":"error","message":"flat","type":"BadRequestError","param":null,"code":400}"#,
            error(400, "flat"),
        ),
        (r#"{"error":{"reason":"odd"}}"#, error(502, r#"{"reason":"odd"}"#)),
        (r#"{"error":null,"id":"x"}"#, First::Content),
        (r#"{"error":"","id":"x"}"#, First::Content),
        (r#"{"id":"resp","error":{"message":"late"}}"#, First::Content),
        (r#"{"type":"message","id":"m"}"#, First::Content),
        (r#"{"object":"list","data":["#, First::Content),
        ("<html>", First::Content),
        ("{]", First::Content),
        ("[1", First::Content),
        ("", First::More),
        ("  \n", First::More),
        ("{", First::More),
        (r#"{"err"#, First::More),
        (r#"{"error":{"message":"half"#, First::More),
        (r#"{"type":"error","error""#, First::More),
        (r#"{"id""#, First::More),
    ];
    for (body, expected) in whole {
        assert_eq!(first_element(Operation::Chat, Framing::Whole, body.as_bytes()), expected, "{body}");
        assert!(!harmless(body) || !matches!(expected, First::Error { .. }), "{body}");
    }
    for body in [r#"{"type":"message","id":"m"}"#, r#" {"object":"list","data":[{"error":"inside"}]}"#, "{}"]
    {
        assert!(harmless(body), "{body}");
    }
    // Not all there, not at the start, or not JSON: nothing is known.
    for body in ["", "  ", r#"{"id":"m""#, r#"{"id":01}"#, "[1]", "{}{}", "\u{feff}{}"] {
        assert!(!harmless(body), "{body}");
    }
}

#[test]
fn first_elements_of_streams() {
    let cases = [
        (Framing::Sse, "data: {\"error\":{\"message\":\"no\",\"code\":429}}\n\n", error(429, "no")),
        (Framing::Sse, ": ping\n\ndata:{\"error\":\"no\"}\r\n\r\n", error(502, "no")),
        (
            Framing::Sse,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n",
            error(500, "x"),
        ),
        (Framing::Sse, "event: error\ndata: boom\n\n", error(502, "boom")),
        (
            Framing::Sse,
            "\u{feff}data: {\"id\":1,\"error\":{\"message\":\"behind\"}}\n\n",
            error(502, "behind"),
        ),
        (Framing::Sse, "data: {\"choices\":[]}\n\n", First::Content),
        (Framing::Sse, "data: [DONE]\n\n", First::Content),
        (Framing::Sse, ": ping\n\n", First::More),
        (Framing::Sse, "data: {\"error\":{\"message\":\"no\"", First::More),
        (Framing::Sse, "{\"error\":{\"message\":\"plain\",\"code\":400}}", error(400, "plain")),
        (
            Framing::Lines,
            "{\"error\":\"llama runner process has terminated\"}\n",
            error(502, "llama runner process has terminated"),
        ),
        (Framing::Lines, "{\"error\":\"no line end\"}", error(502, "no line end")),
        // What is short is waited for: an error may be any member of it.
        (Framing::Lines, "{\"model\":\"m\",\"message\":{}", First::More),
        (Framing::Lines, "{\"model\":\"m\",\"message\":{}}", First::Content),
        (Framing::Lines, "{\"model\":\"m\",\"error\":\"late\"}\n", error(502, "late")),
        (Framing::Lines, "{\"model\":]", First::Content),
        (
            Framing::Array,
            "[{\"error\":{\"code\":429,\"message\":\"quota\",\"status\":\"RESOURCE_EXHAUSTED\"}}]",
            error(429, "quota"),
        ),
        (Framing::Array, "[{\n  \"candidates\": [", First::More),
        (Framing::Array, "[{\n  \"candidates\": []\n}", First::Content),
        (Framing::Array, "[{\"id\":1,\"error\":{\"code\":429,\"message\":\"late\"}}", error(429, "late")),
        (Framing::Array, "[", First::More),
        (Framing::Array, "{\"error\":{\"code\":404,\"message\":\"m\"}}", error(404, "m")),
    ];
    for (framing, body, expected) in cases {
        assert_eq!(first_element(Operation::Chat, framing, body.as_bytes()), expected, "{framing:?} {body}");
    }
}

#[test]
fn every_cut_leads_to_the_same_verdict() {
    for (name, operation, framing) in [
        ("anthropic-error", Operation::Messages, Framing::Sse),
        ("chat-json-instead", Operation::Chat, Framing::Sse),
        ("gemini-array", Operation::StreamGenerateContent, Framing::Array),
        ("whole-error", Operation::Embeddings, Framing::Whole),
        ("ollama-chat", Operation::OllamaChat, Framing::Lines),
    ] {
        let bytes = answer(name).bytes;
        let verdict = first_element(operation, framing, &bytes);
        for cut in 0..bytes.len() {
            let found = first_element(operation, framing, &bytes[..cut]);
            assert!(
                found == First::More || found == verdict,
                "{name} cut at {cut}: {found:?}, later {verdict:?}"
            );
        }
    }
}

#[test]
fn what_comes_behind_a_verdict_does_not_change_it() {
    for (framing, body) in [
        (Framing::Lines, b"{\"model\":\"m\",\"error\":\"late\"}\n{}\n".as_slice()),
        (Framing::Lines, b"{\"error\":\"x\"}\xff\n"),
        (Framing::Lines, b"{\"a\":1} \xc3\n"),
        (Framing::Lines, b"\xff{}\n"),
        (Framing::Array, b"[{\"id\":1,\"error\":\"late\"},{}]"),
        (Framing::Array, b"[{\"id\":1,\"x\":\"\xff\"}]"),
    ] {
        let verdict = first_element(Operation::Chat, framing, body);
        assert_ne!(verdict, First::More, "{body:?}");
        for cut in 0..body.len() {
            let early = first_element(Operation::Chat, framing, &body[..cut]);
            assert!(
                early == First::More || early == verdict,
                "{body:?} cut at {cut}: {early:?}, then {verdict:?}"
            );
        }
    }
}

/// A chunk may end inside of an escape or a word.
#[test]
fn a_cut_inside_a_value_is_waited_for() {
    let error =
        r#"{"error":{"param":null,"message":"a \"b\"\n \u00fc","x":[true,-1.5e+3,false],"code":400}}"#;
    let whole = first_element(Operation::Chat, Framing::Sse, error.as_bytes());
    assert!(matches!(whole, First::Error { status: 400, .. }));
    for cut in 0..error.len() {
        let found = first_element(Operation::Chat, Framing::Sse, &error.as_bytes()[..cut]);
        assert_eq!(found, First::More, "{}", &error[..cut]);
    }
}

#[test]
fn content_is_never_taken_for_an_error() {
    for golden in answers() {
        let told = golden.expected.error.is_some() && golden.expected.complete;
        if golden.expected.content && golden.framing != Framing::Whole && !told {
            let found = first_element(golden.operation, golden.framing, &golden.bytes);
            assert_eq!(found, First::Content, "{}", golden.name);
        }
    }
}

#[test]
fn waiting_is_bounded() {
    let long = [b"{\"error\":\"".as_slice(), &vec![b'x'; 70_000]].concat();
    assert_eq!(first_element(Operation::Chat, Framing::Whole, &long), First::Content);
}

#[test]
fn bytes_behind_the_first_element_change_nothing() {
    let error = br#"{"error":{"message":"no","code":400}}"#.to_vec();
    let said = first_element(Operation::Chat, Framing::Sse, &error);
    assert!(matches!(said, First::Error { status: 400, .. }));
    for behind in [b"\xff\xfe".as_slice(), b"garbage", b"\xc3", b"{}"] {
        let more = [&error, behind].concat();
        assert_eq!(first_element(Operation::Chat, Framing::Sse, &more), said, "{behind:?}");
    }
    // Inside of it they end the wait.
    let torn = b"{\"error\":{\"message\":\"n\xff";
    assert_eq!(first_element(Operation::Chat, Framing::Sse, torn), First::Content);
    assert_eq!(first_element(Operation::Chat, Framing::Sse, &torn[..torn.len() - 1]), First::More);
}
