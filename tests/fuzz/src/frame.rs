//! Streams cut into elements: no cut changes anything, no byte is lost, and a plain reader by the book agrees.

use bytes::Bytes;
use wire::{
    UsageStrip,
    frame::{Frames, element_json, event},
};

use super::{choice, cut, json};

pub fn run(mut input: &[u8]) {
    let (kind, one, other) = (choice(&mut input), choice(&mut input), choice(&mut input));
    let chunks = cut(input, one, other);
    let new = [Frames::events, Frames::lines, Frames::elements][kind % 3];
    let whole = frames(new(), &[input]);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    for chunks in [&chunks[..], &bytes] {
        let parts = frames(new(), chunks);
        // The line feed of an event that ends in a carriage return is not waited for: it may begin the next one.
        assert_eq!(parts.concat(), whole.concat(), "a cut changes the bytes");
        let same = if kind % 3 == 0 { said(&parts) == said(&whole) } else { parts == whole };
        assert!(same, "a cut changes the elements: {parts:?} {whole:?}");
    }
    match kind % 3 {
        0 => events(input, &whole, &chunks),
        1 => lines(input, &whole),
        _ => elements(input, &whole),
    }
}

fn frames(mut frames: Frames, chunks: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    chunks.iter().for_each(|chunk| frames.feed(chunk, |frame| found.push(frame.to_vec())));
    frames.finish(|frame| found.push(frame.to_vec()));
    found
}

fn lines(input: &[u8], whole: &[Vec<u8>]) {
    let book: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(whole, book);
}

/// An array that serde_json takes comes out as its elements.
fn elements(input: &[u8], whole: &[Vec<u8>]) {
    assert!(input.starts_with(&whole.concat()), "bytes are lost or made up");
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(book) = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(text) else { return };
    if book.iter().any(|value| !value.get().starts_with('{')) {
        return;
    }
    let found = whole.iter().map(|element| element_json(element)).filter(|json| !json.is_empty());
    assert!(found.eq(book.iter().map(|value| value.get().as_bytes())), "{text}");
}

fn events(input: &[u8], whole: &[Vec<u8>], chunks: &[&[u8]]) {
    assert_eq!(whole.concat(), input, "bytes are lost or made up");
    // A mark at the start of a later event is ours to skip alone; the book knows it at the start of the stream.
    if !contains(input, b"\xef\xbb\xbf") {
        assert_eq!(said(whole), by_the_book(input));
    }
    let stripped = strip(&[input]);
    assert_eq!(stripped, strip(chunks), "a cut changes what is taken out");
    let kept: Vec<u8> = whole.iter().filter(|block| !is_usage(block)).flatten().copied().collect();
    // Names with escapes and torn characters are read as written by us, and decoded or refused by serde_json.
    if !contains(input, b"\\u") && std::str::from_utf8(input).is_ok() {
        assert_eq!(stripped, kept, "{}", String::from_utf8_lossy(input));
    }
}

/// Names and data of events.
fn said(blocks: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let events = blocks.iter().filter_map(|block| event(block));
    events.map(|event| (event.name.to_vec(), event.data.into_owned())).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn strip(chunks: &[&[u8]]) -> Vec<u8> {
    let (mut strip, mut out) = (UsageStrip::new(), Vec::new());
    chunks.iter().for_each(|chunk| strip.feed(Bytes::copy_from_slice(chunk), &mut out));
    strip.finish(&mut out);
    out.concat()
}

fn is_usage(block: &[u8]) -> bool {
    let Some(event) = event(block) else { return false };
    let Ok(text) = std::str::from_utf8(&event.data) else { return false };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<json::Members<'_>>();
    let Some(Ok(members)) = values.next() else { return false };
    let last = |name: &str| members.all(name).pop().unwrap_or_default();
    let is_empty = serde_json::from_str::<Vec<serde::de::IgnoredAny>>(last("choices"));
    is_empty.is_ok_and(|choices| choices.is_empty()) && last("usage").starts_with('{')
}

/// Names and data by the algorithm of the HTML standard, line by line, save that an unfinished event counts.
fn by_the_book(input: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut found, mut name, mut data) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    let mut rest = input;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = match &rest[end..] {
            [b'\r', b'\n', behind @ ..] | [b'\r' | b'\n', behind @ ..] => behind,
            behind => behind,
        };
        if line.is_empty() {
            found.extend(data.take().map(|data| (std::mem::take(&mut name), data)));
            name.clear();
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value.to_vec(),
            b"data" => match &mut data {
                None => data = Some(value.to_vec()),
                Some(data) => data.extend([b"\n", value].concat()),
            },
            _ => {}
        }
    }
    found.extend(data.map(|data| (name, data)));
    found
}
