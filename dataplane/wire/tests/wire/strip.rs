//! Only the usage chunk goes; every other byte stays, however the stream is cut.

use crate::golden::{answer, answers};
use bytes::Bytes;
use wire::{Framing, UsageStrip};

fn strip(chunks: &[&[u8]]) -> String {
    let mut strip = UsageStrip::new();
    let mut out = Vec::new();
    chunks.iter().for_each(|chunk| strip.feed(Bytes::copy_from_slice(chunk), &mut out));
    strip.finish(&mut out);
    String::from_utf8(out.concat()).unwrap()
}

/// The stream without the event that holds `mark`, by plain search.
fn without(bytes: &[u8], eol: &str, mark: &str) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    let end = format!("{eol}{eol}");
    text.split_inclusive(end.as_str()).filter(|event| !event.contains(mark)).collect()
}

const CASES: [(&str, &str, &str); 6] = [
    ("chat-openai", "\n", "\"choices\":[]"),
    ("chat-llamacpp", "\n", "\"choices\":[]"),
    ("llama-chat", "\n", "\"choices\":[]"),
    ("completions-vllm", "\n", "\"choices\":[]"),
    ("chat-crlf", "\r\n", "\"choices\":[]"),
    ("chat-cr", "\r", "\"choices\":[]"),
];

#[test]
fn the_usage_chunk_goes_at_every_cut() {
    for (name, eol, mark) in CASES {
        let bytes = answer(name).bytes;
        let expected = without(&bytes, eol, mark);
        assert!(expected.len() < bytes.len(), "{name} has no usage chunk");
        assert_eq!(strip(&[&bytes]), expected, "{name}");
        assert_eq!(strip(&bytes.chunks(1).collect::<Vec<_>>()), expected, "{name} byte by byte");
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(strip(&[head, tail]), expected, "{name} cut at {cut}");
        }
    }
}

#[test]
fn every_other_stream_passes_untouched() {
    let touched: Vec<&str> = CASES.iter().map(|(name, ..)| *name).collect();
    for golden in answers() {
        if golden.framing != Framing::Sse || touched.contains(&golden.name.as_str()) {
            continue;
        }
        let bytes = &golden.bytes;
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(strip(&[bytes]), text, "{}", golden.name);
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(strip(&[head, tail]), text, "{} cut at {cut}", golden.name);
        }
    }
}

#[test]
fn only_a_chunk_without_choices_and_with_usage_goes() {
    let stays = [
        "data: {\"choices\":[],\"prompt_filter_results\":[{}],\"usage\":null}\n\n",
        "data: {\"choices\":[]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"choices\\\":[],\\\"usage\\\":{}\"}}],\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}\n\n",
        ": \"usage\"\n\n",
        "\n\n\n",
        "data: [DONE]\n\n",
    ];
    for event in stays {
        assert_eq!(strip(&[event.as_bytes()]), event, "{event}");
    }
    for event in [
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data:{\"usage\" : {} , \"choices\" : [ ] }\r\n\r\n",
        ": note\ndata: {\"choices\":[],\"usage\":{}}\n\n",
        "data: {\"choices\":[],\"usage\":{}}",
    ] {
        assert_eq!(strip(&[event.as_bytes()]), "", "{event}");
    }
}

#[test]
fn nothing_is_copied_when_nothing_is_held() {
    let chunk = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    let mut out = Vec::new();
    let mut strip = UsageStrip::new();
    strip.feed(chunk.clone(), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].as_ptr(), chunk.as_ptr());
}

#[test]
fn an_event_too_long_to_be_usage_is_not_held_back() {
    let mut strip = UsageStrip::new();
    let mut out = Vec::new();
    strip.feed(Bytes::from(vec![b'x'; 1 << 20]), &mut out);
    assert_eq!(out.concat().len(), 1 << 20);
    strip.feed(Bytes::from_static(b"yz"), &mut out);
    assert_eq!(out.concat().len(), (1 << 20) + 2);
}

#[test]
fn a_stream_that_breaks_off_keeps_its_torn_end() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[],\"usa";
    assert_eq!(strip(&[text.as_bytes()]), text);
}
