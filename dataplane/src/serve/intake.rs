//! Reads a request body within its bounds, and undoes its compression.

use std::{
    io::{self, Read},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use wire::Fault;

use super::budget::{Budget, Held};

/// A whole request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(600);
/// Between two pieces of a request body.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a refused body that are read and thrown away.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// A buffer is not made larger than this on the word of a `content-length` alone.
const TRUSTED_BYTES: usize = 1024 * 1024;

/// The body of a request, decompressed, at most `bytes_max` long, and the memory that it holds.
pub async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    bytes_max: usize,
    budget: &Budget,
) -> Result<(Bytes, Held), Fault> {
    let mut held = Held::default();
    let raw = match media_type(headers) {
        Ok(()) => {
            let collected = collect(&mut body, bytes_max, budget, &mut held);
            let late = || bad(format!("the body did not end within {} s", BODY_TIMEOUT.as_secs()));
            tokio::time::timeout(BODY_TIMEOUT, collected).await.unwrap_or_else(|_| Err(late()))
        }
        Err(fault) => Err(fault),
    };
    if raw.is_err() && !body.is_end_stream() {
        tokio::task::spawn_local(tokio::time::timeout(DISCARD_TIMEOUT, discard(body)));
    }
    let plain = decode(coding(headers)?, raw?, bytes_max)?;
    budget.grow(&mut held, plain.len()).await?;
    Ok((plain, held))
}

/// Reads on past a refused body: a connection closed over unread bytes is reset, and the client never sees why.
async fn discard(mut body: Incoming) {
    let mut discarded = 0;
    while discarded < DISCARD_BYTES_MAX {
        let Some(Ok(frame)) = body.frame().await else { return };
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// JSON travels under several names; `curl` alone sends it as a form, some clients send no type at all.
fn media_type(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let told = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let essence = told.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = matches!(
        essence.as_str(),
        "" | "application/json" | "text/json" | "text/plain" | "application/x-www-form-urlencoded"
    );
    if known || (essence.starts_with("application/") && essence.ends_with("+json")) {
        Ok(())
    } else {
        Err(Fault::MediaType { got: format!("content-type {told}") })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

fn coding(headers: &HeaderMap) -> Result<Coding, Fault> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Coding::Identity) };
    match value.to_str().unwrap_or("?").trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Coding::Identity),
        "gzip" | "x-gzip" => Ok(Coding::Gzip),
        "deflate" => Ok(Coding::Deflate),
        "zstd" => Ok(Coding::Zstd),
        other => Err(Fault::MediaType { got: format!("content-encoding {other}") }),
    }
}

async fn collect(
    body: &mut Incoming,
    bytes_max: usize,
    budget: &Budget,
    held: &mut Held,
) -> Result<Bytes, Fault> {
    let too_large = || Fault::TooLarge { limit_bytes: bytes_max as u64 };
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > bytes_max {
        return Err(too_large());
    }
    budget.grow(held, told).await?;
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(bad(format!("the body broke off: {error}"))),
            Ok(None) => break,
            Err(_) => return Err(bad(format!("no piece of the body for {} s", PIECE_TIMEOUT.as_secs()))),
        };
        let Ok(piece) = frame.into_data() else { continue };
        match first.take() {
            None if all.is_empty() => first = Some(piece),
            None => all.extend_from_slice(&piece),
            Some(start) => {
                all.reserve(told.min(TRUSTED_BYTES).max(start.len() + piece.len()));
                all.extend_from_slice(&start);
                all.extend_from_slice(&piece);
            }
        }
        let length = first.as_ref().map_or(all.len(), Bytes::len);
        if length > bytes_max {
            return Err(too_large());
        }
        budget.grow(held, length).await?;
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

fn decode(coding: Coding, raw: Bytes, bytes_max: usize) -> Result<Bytes, Fault> {
    let read = match coding {
        Coding::Identity => return Ok(raw),
        Coding::Gzip => bounded(flate2::read::MultiGzDecoder::new(&raw[..]), bytes_max),
        // RFC 9110 means zlib; some clients send the bare stream.
        Coding::Deflate if raw.first().is_some_and(|byte| byte & 0x0f == 8) => {
            bounded(flate2::read::ZlibDecoder::new(&raw[..]), bytes_max)
        }
        Coding::Deflate => bounded(flate2::read::DeflateDecoder::new(&raw[..]), bytes_max),
        Coding::Zstd => match ruzstd::decoding::StreamingDecoder::new(&raw[..]) {
            Ok(decoder) => bounded(decoder, bytes_max),
            Err(error) => Err(io::Error::other(error.to_string())),
        },
    };
    match read {
        Ok(bytes) if bytes.len() > bytes_max => Err(Fault::TooLarge { limit_bytes: bytes_max as u64 }),
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(error) => Err(bad(format!("the body is not {coding:?} as its content-encoding says: {error}"))),
    }
}

/// Reads one byte more than allowed, so that the caller sees the excess and a bomb stops there.
fn bounded(reader: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn bad(message: String) -> Fault {
    Fault::BadRequest { message }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{Coding, decode};

    fn gzip(bytes: &[u8]) -> bytes::Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert!(matches!(decode(Coding::Gzip, bomb, 1000), Err(wire::Fault::TooLarge { limit_bytes: 1000 })));
    }

    #[test]
    fn codings() {
        assert_eq!(decode(Coding::Gzip, gzip(b"{}"), 10).unwrap(), "{}");
        let zstd =
            ruzstd::encoding::compress_to_vec(&b"{\"a\":1}"[..], ruzstd::encoding::CompressionLevel::Fastest);
        assert_eq!(decode(Coding::Zstd, zstd.into(), 10).unwrap(), "{\"a\":1}");
        assert!(decode(Coding::Zstd, "nonsense".into(), 10).is_err());
        assert!(decode(Coding::Gzip, "nonsense".into(), 10).is_err());
    }
}
