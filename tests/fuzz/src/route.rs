//! Paths and patterns: what a request line asks for, and what a pattern makes of a name.

use wire::{Framing, Operation, Pattern, Target, framing, pattern, target};

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, path, written, template, name) = (line(), line(), line(), line(), line());
    paths(method, path);
    patterns(written, template, name);
}

fn paths(method: &str, path: &str) {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    for method in [method, "GET", "POST"] {
        let found = target(method, path, query);
        if let Target::Call { operation, model, .. } = &found {
            assert_eq!(method, "POST", "only POST asks a server");
            let in_path = operation.dialect() == wire::Dialect::Gemini;
            assert!(model.is_some() || !in_path, "the path of this dialect names the model");
            if let Some(model) = model {
                assert!(!model.is_empty() && decoded_from(path, model), "{model:?} of {path:?}");
            }
            let whole = framing(*operation, false, query) == Framing::Whole;
            assert!(whole || *operation == Operation::StreamGenerateContent);
        }
        // Doubled and trailing slashes mean nothing.
        if path.starts_with('/') {
            assert_eq!(target(method, &path.replace('/', "//"), query), found, "{path:?}");
            assert_eq!(target(method, &format!("{path}/"), query), found, "{path:?}");
        }
    }
}

/// Whether the name is a part of the path with its escapes undone.
fn decoded_from(path: &str, model: &str) -> bool {
    let mut bytes = Vec::new();
    let mut rest = path.replace("//", "/").into_bytes().into_iter().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let pair: Vec<u8> = rest.by_ref().take(2).collect();
        let pair = String::from_utf8_lossy(&pair).into_owned();
        match u8::from_str_radix(&pair, 16) {
            Ok(byte) if pair.len() == 2 => bytes.push(byte),
            _ => bytes.push(b'%'),
        }
    }
    // Slashes may have been squeezed more than once: compare without them.
    let flat = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'/').collect::<Vec<u8>>();
    let (bytes, model) = (flat(&bytes), flat(model.as_bytes()));
    bytes.windows(model.len().max(1)).any(|window| window == model) || model.is_empty()
}

fn patterns(written: &str, template: &str, name: &str) {
    let pattern = match Pattern::new(written) {
        Ok(pattern) => pattern,
        Err(fault) => return assert!(!fault.to_string().is_empty()),
    };
    assert_eq!(pattern.as_str(), written);
    let matches = pattern.matches(name);
    assert_eq!(pattern.expand(name, "").as_deref(), matches.then_some(name));
    let expanded = pattern.expand(name, template);
    assert!(matches || expanded.is_none(), "a name that does not match is expanded");
    if let Some(expanded) = &expanded {
        assert!(expanded.len() <= pattern::NAME_BYTES_MAX.max(name.len()));
    }
    if pattern.check_template(template).is_ok() && matches && expanded.is_none() {
        let longest = template.len() + template.matches('$').count() * name.len();
        assert!(longest > pattern::NAME_BYTES_MAX, "a checked template cannot be filled");
    }
}
