//! Bodies as they come in: unpacking is bounded, complete and the same in steps; then they are read.

use std::io::Write as _;

use bytes::Bytes;
use dataplane::coding::{Coding, CodingError, unpack};
use flate2::{Compression, write};
use wire::Operation;

use super::choice;

/// Bytes of content at most, where the fuzzer chooses the limit.
const LIMIT_STEP_BYTES: usize = 64;

pub fn run(mut input: &[u8]) {
    let (how, limit) = (choice(&mut input), choice(&mut input) * LIMIT_STEP_BYTES);
    let coding = [Coding::Gzip, Coding::Deflate, Coding::Zstd][how % 3];
    let operation = Operation::ALL[how / 3 % Operation::ALL.len()];
    if how < 128 {
        hostile(coding, input, limit, operation);
    } else {
        honest(coding, input);
    }
}

/// Bytes that claim to be compressed.
fn hostile(coding: Coding, raw: &[u8], limit: usize, operation: Operation) {
    let raw = Bytes::copy_from_slice(raw);
    let content = match unpack(coding, raw.clone(), limit) {
        Ok(content) => content,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(content.len() <= limit);
    // The limit decides only whether, never what.
    let exact = unpack(coding, raw.clone(), content.len()).expect("a limit that fits");
    assert_eq!(exact, content);
    if !content.is_empty() {
        let less = unpack(coding, raw, content.len() - 1);
        assert!(matches!(less, Err(CodingError::TooLarge(_))), "{less:?}");
    }
    super::read::check(operation, None, &content);
}

/// What is packed by a client comes out as it was, and a torn body never passes for a whole one.
fn honest(coding: Coding, content: &[u8]) {
    let packed = pack(coding, content);
    let torn = packed.slice(..packed.len() - 1);
    assert_eq!(unpack(coding, packed, content.len()).expect("packed by its own rules"), content);
    assert!(unpack(coding, torn, content.len()).is_err(), "{coding:?}");
}

fn pack(coding: Coding, content: &[u8]) -> Bytes {
    let packed = match coding {
        Coding::Gzip => {
            let mut encoder = write::GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(content).and_then(|()| encoder.finish())
        }
        Coding::Deflate => {
            let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(content).and_then(|()| encoder.finish())
        }
        Coding::Zstd => {
            Ok(ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest))
        }
    };
    packed.expect("memory takes all").into()
}
