//! The JSON and YAML form: equal, strict, with places.

use super::*;
use crate::{span, v1};

const YAML: &str = "
backends:
  - name: web
    url: http://gpu-1:8080
    kind: LLAMACPP
    max_concurrency: 2
    priority: -3
    dialects: [OPENAI_CHAT, ANTHROPIC_MESSAGES]
  - {name: cloud, url: 'https://api.example.com', credential: 'env:KEY'}
routes:
  - name: latest
    pattern: ^(.*)-latest$
    targets: [{model: $1, backend: web}]
";

const JSON: &str = r#"{"backends": [
  {"name": "web", "url": "http://gpu-1:8080", "kind": "LLAMACPP", "maxConcurrency": 2, "priority": -3,
   "dialects": ["OPENAI_CHAT", "ANTHROPIC_MESSAGES"]},
  {"name": "cloud", "url": "https://api.example.com", "credential": "env:KEY"}],
 "routes": [{"name": "latest", "pattern": "^(.*)-latest$", "targets": [{"model": "$1", "backend": "web"}]}]}"#;

fn said<T: std::fmt::Debug>(read: Result<T, FormError>) -> String {
    read.expect_err("a fault").to_string()
}

fn yaml(text: &str) -> Result<v1::Config, FormError> {
    from_yaml("Config", text)
}

#[test]
fn yaml_and_json_are_equal_in_both_spellings_of_a_field() {
    let (yaml, json) = (yaml(YAML).unwrap(), from_json::<v1::Config>("Config", JSON).unwrap());
    assert_eq!(yaml, json);
    assert_eq!(yaml.backends[0].kind(), v1::Kind::Llamacpp);
    assert_eq!(yaml.backends[0].max_concurrency, 2);
}

#[test]
fn what_is_written_is_read_back() {
    let config = yaml(YAML).unwrap();
    assert_eq!(yaml(&to_yaml("Config", &config)).unwrap(), config);
    assert_eq!(from_json::<v1::Config>("Config", &to_json("Config", &config)).unwrap(), config);
    let value = to_json_value("Config", &config);
    assert_eq!(value["backends"][0]["kind"], "LLAMACPP");
    assert_eq!(value["backends"][1].get("priority"), None, "unset fields are left out");
    let version = v1::Version { lineage: String::new(), epoch: 1 << 60, seq: 0 };
    assert_eq!(to_json_value("Version", &version)["epoch"], 1_u64 << 60, "numbers stay numbers");
}

#[test]
fn a_span_of_time_is_a_text() {
    let config =
        yaml("routes: [{name: r, exact: m, deadlines: {connect: 0.25s, firstToken: 120s}}]").unwrap();
    let deadlines = config.routes[0].deadlines.unwrap();
    assert_eq!((deadlines.connect, deadlines.first_token), (Some(span(250)), Some(span(120_000))));
    assert_eq!(deadlines.total, None);
    let value = to_json_value("Config", &config);
    assert_eq!(value["routes"][0]["deadlines"]["connect"], "0.250s");
    assert_eq!(yaml(&to_yaml("Config", &config)).unwrap(), config);
}

#[test]
fn faults_say_where() {
    for (text, want) in [
        (
            "backends: [{name: a}, {name: b, urll: x}]",
            "backends[1].urll: no such field; there are name, url, kind,",
        ),
        ("bakends: []", "bakends: no such field; there are backends, routes"),
        ("backends: {name: a}", "backends: a list is needed, not a group of fields"),
        ("backends: [a]", "backends[0]: fields are needed, not a text: name,"),
        (
            "backends: [{kind: OLAMA}]",
            "backends[0].kind: \"OLAMA\" is not allowed: one of KIND_UNSPECIFIED, OLLAMA,",
        ),
        (
            "backends: [{dialects: [OPENAI_CHAT, CHAT]}]",
            "backends[0].dialects[1]: \"CHAT\" is not allowed: one of",
        ),
        (
            "backends: [{priority: high}]",
            "backends[0].priority: \"high\" is not allowed: a whole number from -1000 to 1000",
        ),
        (
            "backends: [{max_concurrency: -1}]",
            "backends[0].max_concurrency: -1 is not allowed: a whole number from 0 to 4096",
        ),
        ("backends: [{draining: 7}]", "backends[0].draining: a number is not allowed: true or false"),
        ("backends: [{name: [x]}]", "backends[0].name: a list is not allowed: a text"),
        (
            "routes: [{targets: [{}, {modl: x}]}]",
            "routes[0].targets[1].modl: no such field; there are model, backend",
        ),
        ("7", "document: fields are needed, not a number: backends, routes"),
        ("", "document: it is empty; fields are needed: backends, routes"),
    ] {
        let fault = said(yaml(text));
        assert!(fault.starts_with(want), "{text}: {fault}");
    }
}

#[test]
fn all_faults_come_at_once() {
    let fault = said(yaml("backends: [{urll: x, kind: Y}, {priority: z}]\nroute: []"));
    assert_eq!(fault.lines().count(), 4, "{fault}");
}

#[test]
fn two_of_a_oneof_are_refused_at_their_place() {
    let fault = said(yaml("routes: [{name: a, exact: x}, {name: b, exact: x, pattern: y}]"));
    assert_eq!(fault, "routes[1]: only one of exact and pattern may be set");
}

#[test]
fn only_true_and_false_are_booleans() {
    for word in ["y", "no", "on", "off", "~x"] {
        let config = yaml(&format!("routes: [{{name: a, exact: {word}}}]")).unwrap();
        assert_eq!(config.routes[0].r#match, Some(v1::route::Match::Exact(word.to_owned())));
        assert_eq!(yaml(&to_yaml("Config", &config)).unwrap(), config);
    }
}

#[test]
fn a_wrong_value_is_not_repeated() {
    let fault = said(yaml("backends: [{credential: [hunter2]}]"));
    assert!(!fault.contains("hunter2") && fault.starts_with("backends[0].credential: "), "{fault}");
}

#[test]
fn syntax_says_line_and_column() {
    let json = said(from_json::<v1::Config>("Config", "{\"backends\": [\n}"));
    assert!(json.contains("line 2 column 1"), "{json}");
    let text = said(yaml("backends:\n  - name: a\n url: [\n"));
    assert!(text.starts_with("not YAML: ") && text.contains("line"), "{text}");
    assert!(yaml("backends: []\n---\nbackends: []\n").is_err(), "one document");
    assert!(said(from_json::<v1::Config>("Config", "{} {}")).contains("trailing"));
    assert!(yaml("backends: []\nbackends: []").is_err(), "a key twice");
}

#[test]
fn enums_are_read_in_any_case() {
    let config = yaml("backends: [{kind: llamacpp, dialects: [openai-chat, Gemini_Content]}]").unwrap();
    assert_eq!(config.backends[0].kind(), v1::Kind::Llamacpp);
    let dialects: Vec<_> = config.backends[0].dialects().collect();
    assert_eq!(dialects, [v1::Dialect::OpenaiChat, v1::Dialect::GeminiContent]);
}
