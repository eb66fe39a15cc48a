//! Each fault in each dialect: status, body, and what ends a stream.

use crate::golden::data;
use serde_json::{Value, json};
use wire::{Dialect, Fault, Framing, Operation, relay_error, upstream_error};

fn faults() -> Vec<(&'static str, Fault)> {
    let backend = || "box-1".to_owned();
    let model = || "qwen \"3\"".to_owned();
    vec![
        ("bad-request", Fault::BadRequest { message: "messages: missing".to_owned() }),
        ("too-long", Fault::TooLong { estimate: 9000, limit: 8192 }),
        ("too-large", Fault::TooLarge { limit_bytes: 33_554_432 }),
        ("unknown-model", Fault::UnknownModel { model: model(), hint: None }),
        (
            "unknown-model-hint",
            Fault::UnknownModel { model: model(), hint: Some("did you mean qwen3?".to_owned()) },
        ),
        ("unknown-path", Fault::UnknownPath { path: "/v2/x".to_owned() }),
        ("method", Fault::Method { allow: "POST".to_owned() }),
        ("unsupported", Fault::Unsupported { what: "POST /v1/audio/speech".to_owned() }),
        (
            "wrong-dialect",
            Fault::WrongDialect {
                model: model(),
                needs: vec!["ollama".to_owned(), "openai-chat".to_owned()],
            },
        ),
        ("media-type", Fault::MediaType { got: "text/html".to_owned() }),
        ("unauthorized", Fault::Unauthorized),
        ("queue-full", Fault::QueueFull { waiting: 100, retry_after_s: 34 }),
        ("queue-deadline", Fault::QueueDeadline { waited_ms: 60_000, retry_after_s: 5 }),
        ("no-backend", Fault::NoBackend { model: model(), reason: "all down".to_owned(), retry_after_s: 0 }),
        ("spare", Fault::Spare),
        ("upstream-connect", Fault::UpstreamConnect { backend: backend() }),
        ("upstream-timeout", Fault::UpstreamTimeout { backend: backend(), what: "headers".to_owned() }),
        ("upstream-broken", Fault::UpstreamBroken { backend: backend(), what: "reset".to_owned() }),
        ("upstream-auth", Fault::UpstreamAuth { backend: backend() }),
        ("truncated", Fault::Truncated { backend: backend() }),
        ("draining", Fault::Draining { retry_after_s: 2 }),
        ("memory", Fault::Memory { retry_after_s: 2 }),
        ("internal", Fault::Internal),
    ]
}

/// `name | openai status type code param | anthropic status type | gemini status name | ollama status`
#[test]
fn the_table() {
    let table = String::from_utf8(data("faults.txt")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let faults = faults();
    assert_eq!(
        rows.iter().map(|row| row[0]).collect::<Vec<_>>(),
        faults.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    for (row, (name, fault)) in rows.iter().zip(&faults) {
        for dialect in Dialect::ALL {
            let body: Value = serde_json::from_str(&fault.body(dialect, "req_7")).unwrap();
            let status = fault.status(dialect);
            let (cell, found) = match dialect {
                Dialect::Anthropic => (row[2], anthropic(status, &body, fault)),
                Dialect::Gemini => (row[3], gemini(status, &body, fault)),
                Dialect::Ollama => (row[4], ollama(status, &body)),
                _ => (row[1], openai(status, &body, fault)),
            };
            assert_eq!(found, cell, "{name} in {}", dialect.name());
        }
    }
}

fn openai(status: u16, body: &Value, fault: &Fault) -> String {
    let error = body["error"].as_object().unwrap();
    let mut keys: Vec<&str> = error.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["code", "message", "param", "type"]);
    assert_eq!(error["message"], fault.message());
    let word = |key: &str| error[key].as_str().unwrap_or("null").to_owned();
    format!("{status} {} {} {}", word("type"), word("code"), word("param"))
}

fn anthropic(status: u16, body: &Value, fault: &Fault) -> String {
    assert_eq!(body["type"], "error");
    assert_eq!(body["request_id"], "req_7");
    let message = body["error"]["message"].as_str().unwrap();
    if let Fault::UnknownModel { model, .. } = fault {
        assert!(message.starts_with(&format!("model: {model}")), "{message}");
    } else {
        assert_eq!(message, fault.message());
    }
    format!("{status} {}", body["error"]["type"].as_str().unwrap())
}

fn gemini(status: u16, body: &Value, fault: &Fault) -> String {
    let error = &body["error"];
    assert_eq!(error["code"], status);
    match fault.retry_after_s() {
        Some(seconds) => assert_eq!(
            error["details"],
            json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s") }])
        ),
        None => assert!(error.get("details").is_none()),
    }
    format!("{status} {}", error["status"].as_str().unwrap())
}

fn ollama(status: u16, body: &Value) -> String {
    assert_eq!(body.as_object().unwrap().len(), 1);
    assert!(!body["error"].as_str().unwrap().is_empty());
    status.to_string()
}

#[test]
fn words_that_clients_look_for() {
    let unknown = Fault::UnknownModel { model: "x".to_owned(), hint: Some("no".to_owned()) };
    assert_eq!(
        unknown.body(Dialect::Ollama, "r"),
        r#"{"error":"model \"x\" not found, try pulling it first"}"#
    );
    let long = Fault::TooLong { estimate: 250_000, limit: 200_000 };
    for dialect in Dialect::ALL {
        let body = long.body(dialect, "r");
        assert!(body.contains("\"prompt is too long: 250000 tokens > 200000 maximum"), "{body}");
    }
    let wrong = Fault::WrongDialect { model: "m".to_owned(), needs: vec!["ollama".to_owned()] };
    assert!(wrong.message().contains("ollama") && wrong.message().contains("translation"));
}

#[test]
fn retries_are_told_where_they_help() {
    for (name, fault) in faults() {
        let temporary =
            matches!(name, "queue-full" | "queue-deadline" | "no-backend" | "spare" | "draining" | "memory");
        assert_eq!(fault.retry_after_s().is_some(), temporary, "{name}");
        assert_ne!(fault.retry_after_s(), Some(0), "{name}");
    }
}

#[test]
fn what_ends_a_stream() {
    let fault = Fault::Truncated { backend: "b".to_owned() };
    let ends = |dialect, framing| {
        fault.in_stream(dialect, framing, "req_7").map(|bytes| String::from_utf8(bytes).unwrap())
    };
    for dialect in Dialect::ALL {
        assert_eq!(ends(dialect, Framing::Whole), None);
    }
    let chat = ends(Dialect::OpenaiChat, Framing::Sse).unwrap();
    assert!(chat.starts_with("\n\ndata: {\"error\":{") && chat.ends_with("}}\n\n"), "{chat}");
    assert!(!chat.contains("[DONE]"));
    let responses = ends(Dialect::OpenaiResponses, Framing::Sse).unwrap();
    assert!(responses.starts_with("\n\nevent: response.failed\ndata: {"), "{responses}");
    assert!(
        responses.contains("\"status\":\"failed\"") && responses.contains("\"code\":\"upstream_truncated\"")
    );
    let named = fault.in_stream(Dialect::OpenaiResponses, Framing::Sse, "resp_68").unwrap();
    assert!(String::from_utf8(named).unwrap().contains("\"id\":\"resp_68\""));
    assert!(responses.contains("\"id\":\"resp_req_7\""));
    let anthropic = ends(Dialect::Anthropic, Framing::Sse).unwrap();
    assert!(
        anthropic.starts_with("\n\nevent: error\ndata: {") && anthropic.contains("\"request_id\":\"req_7\"")
    );
    let gemini = ends(Dialect::Gemini, Framing::Sse).unwrap();
    assert!(gemini.starts_with("\r\n\r\ndata: {\"error\":") && gemini.ends_with("\r\n\r\n"), "{gemini}");
    let array = format!("[{{}}{}", ends(Dialect::Gemini, Framing::Array).unwrap());
    let array: Value = serde_json::from_str(&array).unwrap();
    assert_eq!(array[1]["error"]["status"], "INTERNAL");
    let ollama = ends(Dialect::Ollama, Framing::Lines).unwrap();
    assert!(ollama.ends_with("}\n") && ollama.lines().all(|line| !line.is_empty()), "{ollama}");
    for text in [chat, responses, anthropic, gemini, ollama] {
        for data in text
            .lines()
            .filter_map(|line| line.strip_prefix("data: ").or(line.strip_prefix('{').map(|_| line)))
        {
            serde_json::from_str::<Value>(data).unwrap_or_else(|error| panic!("{data}: {error}"));
        }
    }
}

#[test]
fn relayed_errors_keep_their_status_and_words() {
    for status in [400, 401, 403, 404, 409, 413, 418, 429, 500, 502, 503, 504, 529] {
        for dialect in Dialect::ALL {
            let body: Value =
                serde_json::from_str(&relay_error(dialect, status, "as it said", "req_7")).unwrap();
            let message = match dialect {
                Dialect::Ollama => &body["error"],
                _ => &body["error"]["message"],
            };
            assert_eq!(message, "as it said", "{status} {}", dialect.name());
            if dialect == Dialect::Gemini {
                assert_eq!(body["error"]["code"], status);
            }
        }
    }
    let (status, body) = upstream_error(Operation::Messages, 529, "Overloaded", "req_7");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["type"]), (529, &json!("overloaded_error")));
}
