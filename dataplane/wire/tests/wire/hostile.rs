//! Arbitrary bytes: nothing panics, spans are right, and the reader takes what serde_json takes.

use crate::prefix::of;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};
use serde::de::IgnoredAny;
use wire::{Dialect, Edits, First, Framing, Operation, Tap, UsageStrip, first_element, read, target};

/// The same cases at every run, and no files of failed ones.
pub(crate) fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(20_261_121),
        ..Config::default()
    }
}

const FRAMINGS: [Framing; 4] = [Framing::Whole, Framing::Sse, Framing::Lines, Framing::Array];

/// Pieces of bodies and streams, so that chance gets beyond the first byte.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "\\ud83e",
        "null",
        "true",
        "false",
        "-",
        "0",
        "1e9",
        ".",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "data: ",
        "data",
        "event: error",
        ": ",
        "[DONE]",
        "\"model\"",
        "\"m\"",
        "\"messages\"",
        "\"stream\"",
        "\"stream_options\"",
        "\"include_usage\"",
        "\"system\"",
        "\"input\"",
        "\"choices\"",
        "\"usage\"",
        "\"error\"",
        "\"message\"",
        "\"delta\"",
        "\"finish_reason\"",
        "\"type\"",
        "\"name\"",
        "\"requests\"",
        "\"text\"",
        "x-anthropic-billing-header:",
        "\"candidates\"",
        "\"prompt_tokens\"",
        "ü",
        "🦙",
        "\u{feff}",
    ]);
    let word = prop_oneof![
        9 => words.prop_map(|word: &str| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// JSON of some depth, with keys that readers look for.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| serde_json::Value::from(value).to_string()),
        ".{0,12}".prop_map(|value| serde_json::Value::from(value).to_string()),
        Just("123456789012345678901234567890.5e-7".to_owned()),
        Just("\"\\u00fc\\ud83e\\udd99\\/\\n\"".to_owned()),
        Just("\"error\"".to_owned()),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let keys = prop::sample::select(vec![
            "stream_options",
            "include_usage",
            "system",
            "messages",
            "text",
            "n",
            "images",
            "source",
            "options",
            "x y",
            "tools",
            "error",
            "type",
            "object",
        ]);
        let member = (keys, inner.clone()).prop_map(|(key, value)| format!("\"{key}\" : {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::btree_map("[a-z]{1,2}", member, 0..5)
                .prop_map(|members| format!("{{{}}}", members.into_values().collect::<Vec<_>>().join(","))),
        ]
    })
}

fn everything(bytes: &[u8], cut: usize) {
    for operation in Operation::ALL {
        of(operation, bytes, 1);
        for path in [None, Some("m")] {
            if let Ok(ask) = read(operation, path, bytes) {
                let edits = Edits::plan(operation, &ask, "other", true, true);
                let edited = edits.apply(Bytes::copy_from_slice(bytes));
                serde_json::from_slice::<IgnoredAny>(&edited).unwrap();
            }
        }
        for framing in FRAMINGS {
            let mut tap = Tap::new(operation, framing);
            tap.feed(bytes);
            let verdict = first_element(operation, framing, bytes);
            assert!(!tap.harmless() || !matches!(verdict, First::Error { .. }), "{operation:?} {verdict:?}");
            let mut tap = Tap::new(operation, framing);
            tap.feed(&bytes[..cut]);
            tap.feed(&bytes[cut..]);
            tap.finish();
        }
    }
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
        everything(&bytes, cut.index(bytes.len() + 1));
    }

    #[test]
    fn arbitrary_pieces_never_panic(bytes in pieces(), cut in any::<prop::sample::Index>()) {
        everything(&bytes, cut.index(bytes.len() + 1));
    }

    #[test]
    fn a_cut_changes_nothing(bytes in pieces(), one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
        let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
        let (one, other) = (one.min(other), one.max(other));
        let chunks = [&bytes[..one], &bytes[one..other], &bytes[other..]];
        for framing in FRAMINGS {
            for operation in [Operation::Chat, Operation::Messages, Operation::StreamGenerateContent, Operation::OllamaChat] {
                let mut whole = Tap::new(operation, framing);
                whole.feed(&bytes);
                whole.finish();
                let mut cut = Tap::new(operation, framing);
                chunks.iter().for_each(|chunk| cut.feed(chunk));
                cut.finish();
                prop_assert_eq!(whole.report(), cut.report());
            }
        }
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        let mut strip = UsageStrip::new();
        strip.feed(Bytes::copy_from_slice(&bytes), &mut whole);
        strip.finish(&mut whole);
        let mut strip = UsageStrip::new();
        chunks.iter().for_each(|chunk| strip.feed(Bytes::copy_from_slice(chunk), &mut cut));
        strip.finish(&mut cut);
        prop_assert_eq!(whole.concat(), cut.concat());
    }

    #[test]
    fn the_reader_takes_what_serde_json_takes(bytes in pieces()) {
        let theirs = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok() && std::str::from_utf8(&bytes).is_ok();
        let ours = match read(Operation::OllamaChat, Some("m"), &bytes) {
            Ok(_) => true,
            Err(fault) => !(fault.field == "body" && (fault.problem.starts_with("is not") || fault.problem.starts_with("is empty"))),
        };
        // A member that is given twice stops the reader before a later fault of the text.
        prop_assert!(theirs == ours || (ours && !theirs && read(Operation::OllamaChat, Some("m"), &bytes).is_err()));
    }

    #[test]
    fn edits_leave_the_rest_alone(before in json(), after in json(), stream in any::<bool>(), options in json()) {
        let body = format!(
            r#"{{ "a":{before},"model" : "m\u0031","stream":{stream},"messages":{after},"stream_options":{options},"z":1}}"#
        );
        let ask = match read(Operation::Chat, None, body.as_bytes()) {
            Ok(ask) => ask,
            Err(fault) => {
                prop_assert!(fault.field == "messages" || fault.field.starts_with("stream_options"), "{}", fault);
                return Ok(());
            }
        };
        prop_assert_eq!(&ask.model, "m1");
        let span = ask.model_span.clone().unwrap();
        prop_assert_eq!(&body[span.clone()], r#""m\u0031""#);
        let renamed = Edits::plan(Operation::Chat, &ask, "new", false, false).apply(Bytes::from(body.clone()));
        let expected = format!("{}\"new\"{}", &body[..span.start], &body[span.end..]);
        prop_assert_eq!(&renamed[..], expected.as_bytes());
        let asking = Edits::plan(Operation::Chat, &ask, "m1", true, false);
        let edited = asking.apply(Bytes::from(body.clone()));
        if asking.added_usage() {
            let again = read(Operation::Chat, None, &edited).unwrap();
            prop_assert_eq!(again.include_usage, wire::UsageAsk::Asked);
        } else {
            prop_assert_eq!(&edited[..], body.as_bytes());
        }
    }

    #[test]
    fn any_path_has_a_target(method in "[A-Z]{1,7}", path in "(/|/v1|/api|/v1beta|/models|:|%|[a-z%0-9:]{0,6}){0,8}", query in prop::option::of(".{0,20}")) {
        target(&method, &path, query.as_deref());
        target("POST", &path, None);
        target("GET", &path, None);
    }

    #[test]
    fn dialect_names_are_the_only_ones(name in ".{0,20}") {
        prop_assert_eq!(Dialect::parse(&name).map(Dialect::name), Dialect::ALL.into_iter().map(Dialect::name).find(|known| *known == name));
    }
}
