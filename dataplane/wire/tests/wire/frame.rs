//! Events, lines and array elements are the same from every cut.

use wire::frame::{FRAME_BYTES_MAX, Frames, element_json, event};

fn cut(mut frames: Frames, chunks: &[&[u8]]) -> Vec<String> {
    let mut found = Vec::new();
    let mut each = |frame: &[u8]| found.push(String::from_utf8_lossy(frame).into_owned());
    chunks.iter().for_each(|chunk| frames.feed(chunk, &mut each));
    frames.finish(&mut each);
    found
}

/// The frames from every cut, each turned into what it says.
fn every_cut(new: fn() -> Frames, text: &str, says: fn(&str) -> Option<String>, expected: &[&str]) {
    let bytes = text.as_bytes();
    let read = |chunks: &[&[u8]]| -> Vec<String> {
        cut(new(), chunks).iter().filter_map(|frame| says(frame)).collect()
    };
    assert_eq!(read(&[bytes]), expected, "{text:?}");
    assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), expected, "{text:?} byte by byte");
    for at in 0..bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(read(&[head, tail]), expected, "{text:?} cut at {at}");
    }
}

#[test]
fn events() {
    let says = |block: &str| {
        let event = event(block.as_bytes())?;
        Some(format!("{}|{}", String::from_utf8_lossy(event.name), String::from_utf8_lossy(&event.data)))
    };
    let cases: [(&str, &[&str]); 15] = [
        (": x\r\n\r\n\u{feff}data: a\r\n\r\n", &["|a"]),
        ("data: a\n\ndata: b\n\n", &["|a", "|b"]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", &["|a", "|b"]),
        ("data: a\r\rdata: b\r\r", &["|a", "|b"]),
        ("data: a\r\n\ndata: b\n\r\n", &["|a", "|b"]),
        ("data:a\n\ndata:  b\n\n", &["|a", "| b"]),
        ("event: x\ndata: a\n\n", &["x|a"]),
        ("data: a\nevent:x\nid: 1\nretry: 5\n\n", &["x|a"]),
        ("data: a\ndata: b\ndata\n\n", &["|a\nb\n"]),
        (": ping\n\n:\n\ndata: a\n\n", &["|a"]),
        ("\n\n\ndata: a\n\n\n\n", &["|a"]),
        ("\u{feff}data: a\n\n", &["|a"]),
        ("data: a\n\ndata: unfinished", &["|a", "|unfinished"]),
        ("data: gr\u{f6}\u{df}e \u{2028} \u{85} 🦙\n\n", &["|größe \u{2028} \u{85} 🦙"]),
        ("database: a\neventual: b\n\ndata: c\n\n", &["|c"]),
    ];
    for (text, expected) in cases {
        every_cut(Frames::events, text, says, expected);
    }
}

#[test]
fn lines() {
    let says = |line: &str| Some(line.trim().to_owned()).filter(|line| !line.is_empty());
    every_cut(
        Frames::lines,
        "{\"a\":1}\n{\"b\":\"ü\"}\r\n\n{\"c\":3}",
        says,
        &["{\"a\":1}", "{\"b\":\"ü\"}", "{\"c\":3}"],
    );
    every_cut(Frames::lines, "", says, &[]);
}

#[test]
fn elements() {
    let says = |element: &str| {
        let json = String::from_utf8_lossy(element_json(element.as_bytes())).into_owned();
        Some(json).filter(|json| !json.is_empty())
    };
    let cases: [(&str, &[&str]); 6] = [
        ("[{\"a\":1}\n,\r\n{\"b\":[2,{}]}]\n", &["{\"a\":1}", "{\"b\":[2,{}]}"]),
        ("[{\"a\":\"]},[{\\\"\\\\\"},{\"b\":\"\\\\\"}]", &["{\"a\":\"]},[{\\\"\\\\\"}", "{\"b\":\"\\\\\"}"]),
        (" [ ] ", &[]),
        ("[{\"a\":1},{\"b\":", &["{\"a\":1}"]),
        ("[{}]", &["{}"]),
        ("[{\"🦙\":\"ü\"}]", &["{\"🦙\":\"ü\"}"]),
    ];
    for (text, expected) in cases {
        every_cut(Frames::elements, text, says, expected);
    }
    let mut frames = Frames::elements();
    frames.feed(b"[{}", |_| {});
    assert!(!frames.closed());
    frames.feed(b" ]", |_| {});
    assert!(frames.closed());
}

#[test]
fn whole_frames_are_read_in_place() {
    let chunk = b"data: a\n\ndata: b\n\n";
    let range = chunk.as_ptr_range();
    Frames::events().feed(chunk, |frame| assert!(range.contains(&frame.as_ptr())));
}

#[test]
fn frames_are_bounded() {
    let mut frames = Frames::events();
    let mut found = 0;
    let mebibyte = vec![b'x'; 1 << 20];
    for _ in 0..=FRAME_BYTES_MAX >> 20 {
        frames.feed(&mebibyte, |_| found += 1);
    }
    frames.feed(b"\n\n", |_| found += 1);
    assert_eq!((found, frames.skipped()), (0, 1));
    frames.feed(b"data: a\n\n", |_| found += 1);
    assert_eq!((found, frames.skipped()), (1, 1));
}
