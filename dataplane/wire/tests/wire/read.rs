//! What is read from request bodies, and what is refused in which words.

use crate::golden::data;
use wire::estimate::{BYTES_PER_TOKEN, MEDIA_TOKENS};
use wire::read::MODELS_INSIDE_MAX;
use wire::{Ask, Operation, ReadFault, UsageAsk, read};

fn body(name: &str) -> Vec<u8> {
    data(&format!("requests/{name}.json"))
}

fn ask(operation: Operation, path_model: Option<&str>, body: &[u8]) -> Ask {
    read(operation, path_model, body)
        .unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(body)))
}

fn text<'a>(body: &'a [u8], span: &std::ops::Range<usize>) -> &'a str {
    std::str::from_utf8(&body[span.clone()]).unwrap()
}

#[test]
fn chat() {
    let body = body("chat");
    let ask = ask(Operation::Chat, None, &body);
    assert_eq!(
        (ask.model.as_str(), ask.stream, ask.max_output, ask.choices),
        ("gpt-5.2", true, Some(4096), 1)
    );
    assert_eq!(text(&body, &ask.model_span.unwrap()), "\"gpt-5.2\"");
    let seen = "Du bist überaus höflich.\n".len() + "Größe 🦙?".len();
    let tools = r#"[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#.len();
    assert_eq!(
        u64::from(ask.prompt_tokens),
        ((seen + tools) as u64).div_ceil(BYTES_PER_TOKEN) + MEDIA_TOKENS
    );
    assert!(!ask.responses_shape && ask.model_missing.is_none() && ask.billing.is_none());
}

#[test]
fn a_responses_body_on_the_path_of_chat() {
    let ask = ask(Operation::Chat, None, &body("cursor"));
    assert!(ask.responses_shape && ask.stream);
    assert!(ask.prompt_tokens >= 5);
}

#[test]
fn responses() {
    let ask = ask(Operation::Responses, None, &body("responses"));
    assert_eq!((ask.model.as_str(), ask.stream, ask.max_output), ("gpt-5.2-codex", true, Some(16)));
    assert_eq!(ask.include_usage, UsageAsk::Asked);
    // Encrypted reasoning is as long as it likes and is not text.
    assert!((20..60).contains(&ask.prompt_tokens), "{}", ask.prompt_tokens);
}

#[test]
fn completions() {
    let body = body("completions");
    let ask = ask(Operation::Completions, None, &body);
    assert_eq!(
        (ask.model.as_str(), ask.stream, ask.max_output, ask.choices),
        ("codestral", true, Some(64), 2)
    );
    assert_eq!(u64::from(ask.prompt_tokens), (6 + 6 + 10_u64).div_ceil(BYTES_PER_TOKEN));
    match ask.include_usage {
        UsageAsk::Missing { at, with } => assert_eq!((text(&body, &at), with), ("false", "true")),
        UsageAsk::Asked => panic!("declined"),
    }
}

#[test]
fn embeddings() {
    let ask = ask(Operation::Embeddings, None, &body("embeddings"));
    assert_eq!((ask.model.as_str(), ask.stream, ask.prompt_tokens), ("text-embedding-3-small", false, 2));
    let tokens = read(Operation::Embeddings, None, br#"{"model":"e","input":[[1,2,3],[4]]}"#).unwrap();
    assert_eq!(tokens.prompt_tokens, 4);
}

#[test]
fn anthropic() {
    let body = body("anthropic");
    for operation in [Operation::Messages, Operation::CountTokens] {
        let ask = ask(operation, None, &body);
        assert_eq!(
            (ask.model.as_str(), ask.stream, ask.max_output),
            ("claude-sonnet-5-5", true, Some(32_000))
        );
        let block = text(&body, ask.billing.as_ref().unwrap()).to_owned();
        assert!(block.starts_with("{\"type\":\"text\",\"text\":\"x-anthropic-billing-header:"), "{block}");
        assert!(block.ends_with("} ,\n  "), "{block:?}");
        let seen = ["You are Claude Code.", "Grüße", "twelve bytes", "hm", "Bash", "ls", "src"];
        let bytes: usize = seen.iter().map(|text| text.len()).sum();
        assert_eq!(u64::from(ask.prompt_tokens), (bytes as u64).div_ceil(BYTES_PER_TOKEN) + MEDIA_TOKENS);
    }
}

#[test]
fn billing_blocks_go_with_one_comma() {
    let mark = r#"{"type":"text","text":"x-anthropic-billing-header: a"}"#;
    let cases = [
        (format!("[{mark}]"), Some("[]")),
        (format!("[ {mark} ]"), Some("[  ]")),
        (format!("[{mark},1]"), Some("[1]")),
        (format!("[1,{mark}]"), Some("[1]")),
        (format!("[1 , {mark}, 2]"), Some("[1 , 2]")),
        (format!("[1,{mark},{mark}]"), Some(r#"[1,{"type":"text","text":"x-anthropic-billing-header: a"}]"#)),
        (r#"[{"type":"text","text":"x-anthropic"}]"#.to_owned(), None),
        (r#""x-anthropic-billing-header: a""#.to_owned(), None),
        ("null".to_owned(), None),
    ];
    for (system, expected) in cases {
        let body = format!(r#"{{"model":"m","messages":[],"system":{system}}}"#);
        let billing = ask(Operation::Messages, None, body.as_bytes()).billing;
        let left = billing.map(|span| format!("{}{}", &body[..span.start], &body[span.end..]));
        let expected = expected.map(|system| format!(r#"{{"model":"m","messages":[],"system":{system}}}"#));
        assert_eq!(left, expected, "{system}");
    }
}

#[test]
fn gemini() {
    let body = body("gemini");
    let asked = ask(Operation::GenerateContent, Some("org/m:8b"), &body);
    assert_eq!(
        (asked.model.as_str(), asked.stream, asked.max_output, asked.choices),
        ("org/m:8b", false, Some(256), 2)
    );
    assert_eq!((asked.model_span, asked.model_missing), (None, None));
    assert!(u64::from(asked.prompt_tokens) > MEDIA_TOKENS);
    assert!(ask(Operation::StreamGenerateContent, Some("m"), b"{}").stream);
    let snake = br#"{"contents":[],"generation_config":{"max_output_tokens":7}}"#;
    assert_eq!(ask(Operation::GenerateContent, Some("m"), snake).max_output, Some(7));
    let batch = self::body("gemini-batch");
    let asked = ask(Operation::BatchEmbedContents, Some("text-embedding-004"), &batch);
    let inside: Vec<&str> = asked.models_inside.iter().map(|span| text(&batch, span)).collect();
    assert_eq!(inside, ["\"models/text-embedding-004\""; 2]);
}

#[test]
fn ollama() {
    let asked = ask(Operation::OllamaChat, None, &body("ollama"));
    assert_eq!((asked.model.as_str(), asked.stream, asked.max_output), ("qwen3:8b", true, Some(128)));
    assert_eq!(u64::from(asked.prompt_tokens), 12_u64.div_ceil(BYTES_PER_TOKEN) + 2 * MEDIA_TOKENS);
    let cases = [
        (r#"{"model":"m"}"#, "m"),
        (r#"{"name":"n"}"#, "n"),
        (r#"{"name":"n","model":""}"#, "n"),
        (r#"{"name":"n","model":"m"}"#, "m"),
        (r#"{"model":"m","name":""}"#, "m"),
    ];
    for (body, model) in cases {
        let asked = ask(Operation::OllamaShow, None, body.as_bytes());
        assert_eq!(asked.model, model, "{body}");
        assert_eq!(text(body.as_bytes(), &asked.model_span.unwrap()), format!("\"{model}\""));
    }
    assert!(!ask(Operation::OllamaChat, None, br#"{"model":"m","stream":false}"#).stream);
    assert!(!ask(Operation::OllamaEmbed, None, br#"{"model":"m","input":"x"}"#).stream);
    let unlimited = br#"{"model":"m","options":{"num_predict":-1}}"#;
    assert_eq!(ask(Operation::OllamaChat, None, unlimited).max_output, None);
}

#[test]
fn a_model_in_the_path_decides() {
    let named = ask(Operation::Chat, Some("dep"), br#"{"model":"other","messages":[]}"#);
    assert_eq!((named.model.as_str(), named.model_differs, named.model_missing), ("dep", true, None));
    let unnamed = ask(Operation::Chat, Some("dep"), b" {\"messages\":[]}");
    assert_eq!(
        (unnamed.model.as_str(), unnamed.model_differs, unnamed.model_missing),
        ("dep", false, Some(2))
    );
}

#[test]
fn escapes_in_names_are_understood() {
    let asked =
        ask(Operation::Chat, None, br#"{"m\u006fdel":"gr\u00f6\u00dfe\/\ud83e\udd99","messages":[]}"#);
    assert_eq!(asked.model, "größe/🦙");
}

#[test]
fn anthropic_without_max_tokens_passes_on() {
    assert_eq!(ask(Operation::Messages, None, br#"{"model":"m","messages":[]}"#).max_output, None);
}

#[test]
fn refusals() {
    let long = format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(257));
    let deep = format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    let chat = Operation::Chat;
    let cases: [(Operation, &[u8], &str); 38] = [
        (chat, b"", "body is empty; a JSON object is expected"),
        (chat, b" \n ", "body is empty; a JSON object is expected"),
        (chat, b"[]", "body must be a JSON object, got an array"),
        (chat, b"\"x\"", "body must be a JSON object, got a string"),
        (chat, b"null", "body must be a JSON object, got null"),
        (chat, b"model=x", "body is not JSON: expected a value at line 1 column 1"),
        (chat, b"{", "body is not JSON: expected a key in quotes at line 1 column 2"),
        (chat, b"{\"model\":\"m\" \"n\"}", "body is not JSON: expected `,` or `}` at line 1 column 14"),
        (chat, b"{\n\"model\":}", "body is not JSON: expected a value at line 2 column 9"),
        (chat, b"{\"model\" 1}", "body is not JSON: expected `:` at line 1 column 10"),
        (chat, b"{\"a\":[1 2]}", "body is not JSON: expected `,` or `]` at line 1 column 9"),
        (chat, b"{\"a\":[1,]}", "body is not JSON: expected a value at line 1 column 9"),
        (chat, b"{\"a\":1,}", "body is not JSON: expected a key in quotes at line 1 column 8"),
        (chat, b"{\"a\":01}", "body is not JSON: expected `,` or `}` at line 1 column 7"),
        (chat, b"{\"a\":1.}", "body is not JSON: expected a digit at line 1 column 8"),
        (chat, b"{\"a\":tru}", "body is not JSON: expected a value at line 1 column 6"),
        (chat, b"{\"a\":\"\\x\"}", "body is not JSON: unknown escape in a string at line 1 column 7"),
        (chat, b"{\"a\":\"\n\"}", "body is not JSON: control character in a string at line 1 column 7"),
        (chat, b"{\"a\":\"", "body is not JSON: unexpected end inside a string at line 1 column 7"),
        (
            chat,
            b"{\"model\":\"m\",\"messages\":[]} x",
            "body is not JSON: text behind the value at line 1 column 29",
        ),
        (chat, b"{\"model\":\"\xff\"}", "body is not UTF-8 from byte 10 on"),
        (chat, b"{\"messages\":[]}", "model: missing"),
        (chat, b"{\"model\":7,\"messages\":[]}", "model: must be a non-empty string, got 7"),
        (chat, b"{\"model\":null,\"messages\":[]}", "model: must be a non-empty string, got null"),
        (chat, b"{\"model\":\"\",\"messages\":[]}", "model: must be a non-empty string, got \"\""),
        (chat, b"{\"model\":\"a\\nb\",\"messages\":[]}", "model: holds a control character"),
        (chat, b"{\"model\":\"\\ud800\",\"messages\":[]}", "model: holds half of a surrogate pair"),
        (chat, b"{\"model\":\"a\",\"messages\":[],\"model\":\"b\"}", "model: is given twice"),
        (chat, b"{\"model\":\"a\",\"messages\":[],\"mod\\u0065l\":\"b\"}", "model: is given twice"),
        (chat, b"{\"model\":\"a\",\"messages\":[],\"Model\":\"b\"}", "Model: must be written in lower case"),
        (Operation::OllamaChat, b"{\"STREAM\":true}", "STREAM: must be written in lower case"),
        (chat, b"{\"model\":\"m\",\"messages\":[],\"stream\":1}", "stream: must be true or false, got 1"),
        (chat, b"{\"model\":\"m\"}", "messages: missing"),
        (chat, b"{\"model\":\"m\",\"messages\":null}", "messages: missing"),
        (Operation::Messages, b"{\"model\":\"m\"}", "messages: missing"),
        (Operation::Embeddings, b"{\"model\":\"m\"}", "input: missing"),
        (chat, long.as_bytes(), "model: has 257 bytes, at most 256 are allowed"),
        (chat, deep.as_bytes(), "body is not JSON: nested deeper than 128 at line 1 column 152"),
    ];
    for (operation, body, expected) in cases {
        let fault = read(operation, None, body).unwrap_err();
        assert_eq!(fault.to_string(), expected, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn refused_values_are_shown_short() {
    let body = format!(r#"{{"model":[{}],"messages":[]}}"#, "1,".repeat(5000) + "1");
    let ReadFault { field, problem } = read(Operation::Chat, None, body.as_bytes()).unwrap_err();
    assert_eq!(field, "model");
    assert!(problem.chars().count() < 120 && problem.ends_with('…'), "{problem}");
}

#[test]
fn repetitions_of_the_model_are_bounded() {
    let one = r#"{"model":"models/m"}"#;
    let body = format!(r#"{{"requests":[{}]}}"#, vec![one; MODELS_INSIDE_MAX + 1].join(","));
    let fault = read(Operation::BatchEmbedContents, Some("m"), body.as_bytes()).unwrap_err();
    assert_eq!(fault.to_string(), "requests: has more than 4096 elements");
}
