//! The corpora of the fuzz targets, each file through the very body of its target.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::{fs, panic, path::Path};

/// Bytes of all corpora together at most: they are read at every run of the fast ring.
const BYTES_MAX: u64 = 1 << 20;
/// Files of one corpus at least: an empty folder would replay nothing.
const FILES_MIN: usize = 10;

#[test]
fn every_corpus_is_replayed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let (mut bytes, mut faults) = (0, Vec::new());
    for (name, body) in fuzz::TARGETS {
        let folder = fs::read_dir(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let files: Vec<_> = folder.map(|entry| entry.expect("the corpus can be listed").path()).collect();
        assert!(files.len() >= FILES_MIN, "{name} has {} files", files.len());
        for file in files {
            let input = fs::read(&file).expect("the corpus can be read");
            bytes += input.len() as u64;
            if panic::catch_unwind(|| body(&input)).is_err() {
                faults.push(file);
            }
        }
    }
    assert!(faults.is_empty(), "promises are broken by {faults:?}");
    assert!(bytes <= BYTES_MAX, "the corpora have {bytes} bytes");
}

/// A body that cannot fail would replay nothing.
#[test]
fn the_second_opinion_bites() {
    let bitten = |body: &'static str, name: &str| {
        let found = fuzz::json::Members::of(body).map(|members| members.all(name).len());
        (found, fuzz::json::is_json(body.as_bytes()))
    };
    assert_eq!(bitten(r#"{"model":"a","mod\u0065l":"b","MODEL":1}"#, "model"), (Some(2), true));
    assert_eq!(bitten(r#"{"model":"a",}"#, "model"), (None, false));
    assert_eq!(fuzz::cut(b"abcd", 0, 255).map(<[u8]>::len), [0, 4, 0]);
}
