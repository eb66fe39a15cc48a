//! Request bodies of every dialect: what is taken agrees with serde_json, edits change what they name alone, and no
//! edit changes a block of the prompt.

use bytes::Bytes;
use wire::{Ask, BLOCKS_MAX, Block, Dialect, Edits, Operation, ReadFault, UsageAsk, blocks, read, text};

use super::{
    choice,
    json::{Members, is_json, string},
};

/// Names at the backend, among them such as need escapes.
const RENAMED: [&str; 4] = ["m", "box/größe \"8b\"", "models/a\\b", "\u{2028}"];
const SALT: u64 = 7;
const BILLING: &str = "x-anthropic-billing-header:";

pub fn run(mut input: &[u8]) {
    let (how, edit) = (choice(&mut input), choice(&mut input));
    let operation = Operation::ALL[how % Operation::ALL.len()];
    let in_path = operation.dialect() == Dialect::Gemini || how >= 128;
    let path = in_path.then_some("m");
    let prompt = prompt(operation, input);
    let Some(ask) = check(operation, path, input) else { return };
    let mut again = Vec::new();
    ask.blocks(operation, text(input).expect("it was read"), SALT, &mut again);
    assert_eq!(again, prompt, "a body has two prompts");
    let renamed = RENAMED[edit % RENAMED.len()];
    edited(operation, path, input, &ask, renamed, [edit & 64 != 0, edit & 128 != 0]);
}

/// The blocks of whatever it is.
fn prompt(operation: Operation, body: &[u8]) -> Vec<Block> {
    let mut out = Vec::new();
    blocks(operation, body, SALT, &mut out);
    assert!(out.len() <= BLOCKS_MAX && (operation.generates() || out.is_empty()));
    out
}

/// Reads a body and holds what comes out against serde_json.
pub(crate) fn check(operation: Operation, path: Option<&str>, body: &[u8]) -> Option<Ask> {
    let ask = match read(operation, path, body) {
        Ok(ask) => ask,
        Err(fault) => {
            refused(operation, path, body, &fault);
            return None;
        }
    };
    assert!(is_json(body), "what is no JSON is taken");
    let text = std::str::from_utf8(body).expect("only UTF-8 is taken");
    assert!(!ask.model.is_empty() && ask.model.len() <= wire::read::MODEL_BYTES_MAX);
    assert!(!ask.model.chars().any(char::is_control));
    if let Some(span) = &ask.model_span {
        let named = string(&text[span.clone()]).expect("the span is a string");
        assert!(path.is_some() || named == ask.model, "{named:?} is read as {:?}", ask.model);
        assert_eq!(ask.model_differs, path.is_some_and(|path| path != named));
    }
    // serde_json refuses keys with half a surrogate pair; nothing is looked up by those.
    let Some(members) = Members::of(text) else { return Some(ask) };
    if operation.dialect() != Dialect::Gemini {
        let models = members.all("model");
        assert!(models.len() <= 1 && members.alike("model") == models.len(), "two models");
        assert_eq!(members.alike("stream"), members.all("stream").len(), "two streams");
        if let ([model], None, false) = (&models[..], path, operation.dialect() == Dialect::Ollama) {
            assert_eq!(string(model).as_deref(), Some(ask.model.as_str()));
        }
        let told = members.all("stream").into_iter().filter(|value| *value != "null").collect::<Vec<_>>();
        let assumed = matches!(operation, Operation::OllamaChat | Operation::OllamaGenerate);
        match told[..] {
            [] => assert_eq!(ask.stream, assumed),
            ["true"] => assert!(ask.stream),
            ["false"] => assert!(!ask.stream),
            _ => panic!("streams by {told:?}"),
        }
    }
    Some(ask)
}

/// A refusal has a reason that the second opinion shares.
fn refused(operation: Operation, path: Option<&str>, body: &[u8], fault: &ReadFault) {
    assert!(!fault.to_string().is_empty());
    if fault.field == "body" {
        let deep = fault.problem.contains("nested deeper");
        let other = fault.problem.starts_with("must be a JSON object");
        assert!(deep || other || !is_json(body), "{fault}");
    }
    let Some(text) =
        std::str::from_utf8(body).ok().filter(|_| operation == Operation::Chat && path.is_none())
    else {
        return;
    };
    let Some(members) = Members::of(text) else { return };
    let one = |name: &str| match members.all(name)[..] {
        [value] => Some(value),
        _ => None,
    };
    let named = one("model").and_then(string);
    let fine = named.is_some_and(|name| {
        !name.is_empty() && name.len() <= wire::read::MODEL_BYTES_MAX && !name.chars().any(char::is_control)
    });
    let plain = members.all("stream_options").is_empty()
        && members.alike("model") == 1
        && members.alike("stream") == members.all("stream").len()
        && members.all("stream").iter().all(|value| matches!(*value, "true" | "false"))
        && members.all("stream").len() < 2
        && one("messages").is_some_and(|messages| messages != "null")
        && text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() <= 128;
    assert!(!(fine && plain), "{fault}: {text}");
}

fn edited(
    operation: Operation,
    path: Option<&str>,
    body: &[u8],
    ask: &Ask,
    renamed: &str,
    [usage, billing]: [bool; 2],
) {
    let before = Bytes::copy_from_slice(body);
    let edits = Edits::plan(operation, ask, renamed, usage, billing);
    let after = edits.apply(before.clone());
    if edits.is_empty() {
        assert_eq!(after.as_ptr(), before.as_ptr(), "bytes are copied for nothing");
        return;
    }
    assert!(is_json(&after), "{:?} became {:?}", before, after);
    let again_path = path.map(|_| renamed);
    let again = read(operation, again_path, &after).expect("what was taken is taken with its edits");
    assert_eq!(again.model, renamed);
    assert_eq!(prompt(operation, &after), prompt(operation, &before), "an edit has changed the prompt");
    assert!(!again.model_differs && again.model_missing.is_none());
    assert_eq!(again.stream, ask.stream);
    assert_eq!((again.max_output, again.choices), (ask.max_output, ask.choices));
    if edits.added_usage() {
        assert!(usage && ask.stream && ask.include_usage != UsageAsk::Asked);
        assert_eq!(again.include_usage, UsageAsk::Asked);
    }
    let texts = [std::str::from_utf8(body).ok(), std::str::from_utf8(&after).ok()];
    if let [Some(old), Some(new)] = texts.map(|text| text.and_then(Members::of)) {
        others_alone(operation, &old, &new);
        if let (true, Some(_)) = (billing, &ask.billing) {
            billing_gone(&old, &new);
        }
    }
}

/// Members that no edit names are there as they were, in their order.
fn others_alone(operation: Operation, old: &Members<'_>, new: &Members<'_>) {
    let named = |key: &str| match operation.dialect() {
        Dialect::Gemini => {
            matches!(key, "model" | "requests" | "generateContentRequest" | "generate_content_request")
        }
        Dialect::Anthropic => matches!(key, "model" | "system"),
        Dialect::Ollama => matches!(key, "model" | "name"),
        _ => matches!(key, "model" | "stream_options"),
    };
    let others = |members: &Members<'_>| -> Vec<(String, String)> {
        let kept = members.0.iter().filter(|(key, _)| !named(key));
        kept.map(|(key, value)| (key.clone(), value.get().to_owned())).collect()
    };
    assert_eq!(others(old), others(new));
}

/// One block less, and it was the billing block; all others as they were.
fn billing_gone(old: &Members<'_>, new: &Members<'_>) {
    let blocks = |members: &Members<'_>| -> Vec<String> {
        let all = members.all("system");
        let list = all
            .iter()
            .filter_map(|system| serde_json::from_str::<Vec<&serde_json::value::RawValue>>(system).ok());
        list.flatten().map(|block| block.get().to_owned()).collect()
    };
    let (old, new) = (blocks(old), blocks(new));
    assert_eq!(old.len(), new.len() + 1, "{old:?} {new:?}");
    let gone = (0..old.len()).find(|at| new.get(*at) != old.get(*at)).expect("one is gone");
    assert_eq!(new[gone..], old[gone + 1..]);
    assert!(old[gone].contains(BILLING), "{}", old[gone]);
}
