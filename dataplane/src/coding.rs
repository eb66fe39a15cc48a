//! Compressed request bodies, unpacked a bounded step at a time.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes, buf::Reader};
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder, errors::FrameDecoderError};

/// Unpacked at once; between two steps the caller counts what it holds, and may wait.
pub const STEP_BYTES: usize = 256 * 1024;
/// RFC 8878 §3.1.1.1.2: a decoder should bear a window of so many bytes, whatever else it bounds.
const WINDOW_BYTES_MIN: usize = 8 * 1024 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 1950, or RFC 1951 bare as some clients send it.
    Deflate,
    /// RFC 8878, one frame or several.
    Zstd,
}

/// Why a body cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum CodingError {
    /// Its content is longer than allowed.
    #[error("the content has more than {0} bytes")]
    TooLarge(usize),
    /// It is not what its coding says.
    #[error("the body is not {coding:?} as its content-encoding says: {source}")]
    Broken {
        /// The coding declared.
        coding: Coding,
        /// What the decoder says.
        source: io::Error,
    },
}

/// A body on its way to its content.
pub struct Unpacking {
    coding: Coding,
    reader: Box<dyn Read>,
    plain: Vec<u8>,
    bytes_max: usize,
}

impl Unpacking {
    /// Starts on `raw`, whose content may have at most `bytes_max` bytes.
    #[must_use]
    pub fn new(coding: Coding, raw: Bytes, bytes_max: usize) -> Self {
        let reader: Box<dyn Read> = match coding {
            Coding::Gzip => Box::new(MultiGzDecoder::new(raw.reader())),
            // RFC 9110 means zlib; some clients send the bare stream.
            Coding::Deflate if raw.first().is_some_and(|byte| byte & 0x0f == 8) => {
                Box::new(ZlibDecoder::new(raw.reader()))
            }
            Coding::Deflate => Box::new(DeflateDecoder::new(raw.reader())),
            Coding::Zstd => Box::new(Frames::new(raw, bytes_max)),
        };
        Self { coding, reader, plain: Vec::new(), bytes_max }
    }

    /// Unpacks at most [`STEP_BYTES`] more; whether there may be more behind them.
    ///
    /// # Errors
    /// [`CodingError`]; nothing of the body can be used then.
    pub fn step(&mut self) -> Result<bool, CodingError> {
        // One byte more than allowed is read, so that the excess is seen and a bomb stops there.
        let room = (self.bytes_max - self.plain.len()).saturating_add(1).min(STEP_BYTES);
        let read = (&mut self.reader).take(room as u64).read_to_end(&mut self.plain);
        match read {
            Ok(_) if self.plain.len() > self.bytes_max => Err(CodingError::TooLarge(self.bytes_max)),
            Ok(read) => Ok(read == room),
            Err(source) if is_window(&source) => Err(CodingError::TooLarge(self.bytes_max)),
            Err(source) => Err(CodingError::Broken { coding: self.coding, source }),
        }
    }

    /// Bytes of content so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.plain.len()
    }

    /// The content, once no step is left.
    #[must_use]
    pub fn content(self) -> Bytes {
        Bytes::from(self.plain)
    }
}

/// All of a body at once.
///
/// # Errors
/// [`CodingError`].
pub fn unpack(coding: Coding, raw: Bytes, bytes_max: usize) -> Result<Bytes, CodingError> {
    let mut unpacking = Unpacking::new(coding, raw, bytes_max);
    while unpacking.step()? {}
    Ok(unpacking.content())
}

/// A window of that size would hold more than the content may have.
fn is_window(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<FrameDecoderError>());
    matches!(inner, Some(FrameDecoderError::WindowSizeTooBig { .. }))
}

/// Frames of zstd behind each other.
struct Frames {
    raw: Option<Reader<Bytes>>,
    window_bytes_max: u64,
    frame: Option<StreamingDecoder<Reader<Bytes>, FrameDecoder>>,
}

impl Frames {
    fn new(raw: Bytes, bytes_max: usize) -> Self {
        let window_bytes_max = bytes_max.max(WINDOW_BYTES_MIN) as u64;
        Self { raw: Some(raw.reader()), window_bytes_max, frame: None }
    }
}

impl Read for Frames {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(raw) = self.raw.take() {
                let started = StreamingDecoder::new_with_max_window_size(raw, self.window_bytes_max);
                self.frame = Some(started.map_err(io::Error::other)?);
            }
            let Some(frame) = &mut self.frame else { return Ok(0) };
            let read = frame.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let behind = self.frame.take().map(StreamingDecoder::into_inner);
            self.raw = behind.filter(|raw| raw.get_ref().has_remaining());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;

    use super::{Coding, CodingError, STEP_BYTES, Unpacking, unpack};

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        let mut unpacking = Unpacking::new(Coding::Gzip, bomb, 1000);
        assert!(matches!(unpacking.step(), Err(CodingError::TooLarge(1000))));
        assert_eq!(unpacking.bytes(), 1001);
    }

    #[test]
    fn a_step_is_bounded() {
        for (coding, raw) in
            [(Coding::Gzip, gzip(&vec![7; 600_000])), (Coding::Zstd, zstd(&vec![7; 600_000]).into())]
        {
            let mut unpacking = Unpacking::new(coding, raw, 600_000);
            let mut steps = Vec::new();
            while unpacking.step().unwrap() {
                steps.push(unpacking.bytes());
            }
            assert_eq!(steps, [STEP_BYTES, 2 * STEP_BYTES], "{coding:?}");
            assert_eq!(unpacking.content(), vec![7; 600_000]);
        }
    }

    #[test]
    fn codings() {
        assert_eq!(unpack(Coding::Gzip, gzip(b"{}"), 2).unwrap(), "{}");
        let frame = zstd(b"{\"a\":1}");
        assert_eq!(unpack(Coding::Zstd, frame.clone().into(), 7).unwrap(), "{\"a\":1}");
        assert!(matches!(
            unpack(Coding::Zstd, frame.clone().into(), 6).unwrap_err(),
            CodingError::TooLarge(6)
        ));
        for coding in [Coding::Gzip, Coding::Zstd] {
            assert!(unpack(coding, "nonsense".into(), 10).is_err());
            assert!(unpack(coding, Bytes::new(), 10).is_err());
        }
        assert!(unpack(Coding::Zstd, frame[..frame.len() - 1].to_vec().into(), 10).is_err());
    }

    #[test]
    fn frames_of_zstd_behind_each_other_are_one_body() {
        let both = [zstd(b"{\"a\""), zstd(b":1}")].concat();
        assert_eq!(unpack(Coding::Zstd, both.clone().into(), 10).unwrap(), "{\"a\":1}");
        assert!(unpack(Coding::Zstd, [both, b"x".to_vec()].concat().into(), 10).is_err());
    }

    /// A frame of a few bytes may ask for a window of gigabytes.
    #[test]
    fn a_window_is_bounded_by_the_limit() {
        let window_of_2_gib = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        let refused = unpack(Coding::Zstd, window_of_2_gib.to_vec().into(), 10);
        assert!(matches!(refused, Err(CodingError::TooLarge(10))), "{refused:?}");
    }
}
