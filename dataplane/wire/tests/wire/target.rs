//! The route map, as a table.

use crate::golden::data;
use wire::{Dialect, Framing, Operation, Target, framing, target};

/// `METHOD path[?query]` and the target in short.
fn told(found: &Target) -> String {
    match found {
        Target::Call { operation, model, prefix_v1 } => {
            let model = model.as_ref().map(|model| format!(" model={model}")).unwrap_or_default();
            let prefix = if *prefix_v1 { " v1" } else { "" };
            format!("call {}{model}{prefix}", operation.name())
        }
        Target::Models { style } => format!("models {style:?}"),
        Target::Model { id, style } => format!("model {id} {style:?}"),
        Target::MethodNotAllowed { dialect, allow } => format!("405 {} allow={allow}", dialect.name()),
        Target::Unsupported { dialect } => format!("501 {}", dialect.name()),
        Target::Unknown { dialect } => format!("404 {}", dialect.name()),
        other => format!("{other:?}"),
    }
}

#[test]
fn routes() {
    let table = String::from_utf8(data("routes.txt")).unwrap();
    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (request, expected) = row.split_once(" => ").unwrap_or_else(|| panic!("{row}"));
        let (method, path) = request.split_once(' ').unwrap();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let found = told(&target(method, path.trim(), query));
        if found != expected.trim() {
            wrong.push(format!("{request}: {found}, expected {expected}"));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 60, "{rows} rows");
}

#[test]
fn framings() {
    let cases = [
        (Operation::Chat, true, None, Framing::Sse),
        (Operation::Chat, false, None, Framing::Whole),
        (Operation::Responses, true, None, Framing::Sse),
        (Operation::Completions, true, None, Framing::Sse),
        (Operation::Messages, true, Some("beta=true"), Framing::Sse),
        (Operation::Embeddings, true, None, Framing::Whole),
        (Operation::CountTokens, true, None, Framing::Whole),
        (Operation::StreamGenerateContent, true, Some("alt=sse"), Framing::Sse),
        (Operation::StreamGenerateContent, true, Some("key=k&alt=sse"), Framing::Sse),
        (Operation::StreamGenerateContent, true, Some("alt=json"), Framing::Array),
        (Operation::StreamGenerateContent, true, None, Framing::Array),
        (Operation::GenerateContent, false, Some("alt=sse"), Framing::Whole),
        (Operation::OllamaChat, true, None, Framing::Lines),
        (Operation::OllamaGenerate, false, None, Framing::Whole),
        (Operation::OllamaEmbed, true, None, Framing::Whole),
    ];
    for (operation, stream, query, expected) in cases {
        assert_eq!(framing(operation, stream, query), expected, "{operation:?} {stream} {query:?}");
    }
}

#[test]
fn paths_at_the_server_lead_back_to_the_operation() {
    for operation in Operation::ALL {
        for model in ["m", "org/model:tag", "größe 100%", "a?b#c"] {
            let path = operation.path(model);
            assert!(
                path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#'),
                "{path}"
            );
            match target("POST", &path, None) {
                Target::Call { operation: found, model: named, .. } => {
                    assert_eq!(found, operation, "{path}");
                    assert!(named.is_none_or(|named| named == model), "{path}");
                }
                other => panic!("{path}: {other:?}"),
            }
        }
    }
    assert_eq!(Operation::GenerateContent.path("models/m"), "/v1beta/models/m:generateContent");
}

#[test]
fn names() {
    let names = [
        "openai-chat",
        "openai-responses",
        "openai-completions",
        "openai-embeddings",
        "anthropic",
        "gemini",
        "ollama",
    ];
    assert_eq!(Dialect::ALL.map(Dialect::name), names);
    assert_eq!(names.map(Dialect::parse), Dialect::ALL.map(Some));
    assert_eq!(Dialect::parse("openai"), None);
    let free: Vec<&str> =
        Operation::ALL.into_iter().filter(|one| !one.takes_slot()).map(Operation::name).collect();
    assert_eq!(free, ["count-tokens", "gemini-count-tokens", "ollama-show"]);
}
