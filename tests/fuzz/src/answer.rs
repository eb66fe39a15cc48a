//! Answers of hostile servers: what the tap and the reader of the first element make of them, and our own faults.

use wire::{
    Dialect, Fault, First, Framing, Operation, Tap, first_element, frame, relay_error, upstream_error,
};

use super::{choice, cut, json};

const FRAMINGS: [Framing; 4] = [Framing::Whole, Framing::Sse, Framing::Lines, Framing::Array];

pub fn run(mut input: &[u8]) {
    let how = choice(&mut input);
    let (one, other) = (choice(&mut input), choice(&mut input));
    let operation = Operation::ALL[how % Operation::ALL.len()];
    let framing = FRAMINGS[how / Operation::ALL.len() % FRAMINGS.len()];
    let chunks = cut(input, one, other);
    tapped(operation, framing, input, &chunks);
    first(operation, framing, input, &chunks);
    told(operation.dialect(), input);
}

fn tap(operation: Operation, framing: Framing, chunks: &[&[u8]]) -> wire::Report {
    let mut tap = Tap::new(operation, framing);
    chunks.iter().for_each(|chunk| tap.feed(chunk));
    tap.finish();
    tap.report().clone()
}

fn tapped(operation: Operation, framing: Framing, input: &[u8], chunks: &[&[u8]]) {
    let report = tap(operation, framing, &[input]);
    assert_eq!(report, tap(operation, framing, chunks), "a cut changes the report");
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(report, tap(operation, framing, &bytes), "single bytes change the report");
    if framing == Framing::Whole && input.starts_with(b"{") && json::is_json(input) {
        assert!(report.complete, "a whole answer counts as truncated");
        let torn = input.trim_ascii_end();
        let torn = &torn[..torn.len() - 1];
        assert!(!tap(operation, framing, &[torn]).complete, "a torn answer counts as complete");
    }
}

fn first(operation: Operation, framing: Framing, input: &[u8], chunks: &[&[u8]]) {
    let full = first_element(operation, framing, input);
    for end in [chunks[0].len(), chunks[0].len() + chunks[1].len()] {
        let early = first_element(operation, framing, &input[..end]);
        assert!(early == First::More || early == full, "{early:?} becomes {full:?}");
    }
    if let First::Error { status, message } = full {
        assert!((400..600).contains(&status) && !matches!(status, 401 | 403), "{status}");
        let (kept, body) = upstream_error(operation, status, &message, "id");
        assert_eq!(kept, status);
        assert!(json::is_json(body.as_bytes()) && body.contains("error"));
    }
}

/// Whatever a client or a server wrote, our own words about it stay one JSON value in one element.
fn told(dialect: Dialect, input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let quoted = serde_json::Value::from(text.as_str()).to_string();
    let body = relay_error(dialect, 502, &text, "id");
    assert!(json::is_json(body.as_bytes()) && body.contains(&quoted), "{body}");
    let fault = Fault::UpstreamBroken { backend: text.clone(), what: text };
    for framing in FRAMINGS {
        let Some(bytes) = fault.in_stream(dialect, framing, "id") else {
            assert_eq!(framing, Framing::Whole);
            continue;
        };
        let mut frames = match framing {
            Framing::Lines => frame::Frames::lines(),
            Framing::Array => frame::Frames::elements(),
            _ => frame::Frames::events(),
        };
        let mut values = 0;
        if framing == Framing::Array {
            frames.feed(b"[{}", |_| {});
        }
        frames.feed(&bytes, |element| {
            let value = match framing {
                Framing::Sse => frame::event(element).map(|event| event.data.into_owned()),
                Framing::Array => Some(frame::element_json(element).to_vec()).filter(|json| !json.is_empty()),
                _ => Some(element.to_vec()),
            };
            if let Some(value) = value {
                values += 1;
                assert!(json::is_json(&value));
            }
        });
        assert_eq!(values, 1, "{dialect:?} {framing:?}");
    }
}
