//! Reads a request body within its bounds, and undoes its compression.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use wire::Fault;

use super::budget::{Budget, Held};
use crate::coding::{Coding, CodingError, Unpacking};

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
    let raw = raw?;
    let plain = match coding(headers)? {
        None => raw,
        Some(coding) => unpack(coding, raw, bytes_max, budget, &mut held).await?,
    };
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

fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Fault> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(None) };
    match value.to_str().unwrap_or("?").trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(Coding::Gzip)),
        "deflate" => Ok(Some(Coding::Deflate)),
        "zstd" => Ok(Some(Coding::Zstd)),
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

/// A step at a time, each counted before the next: bodies that unpack to more than there is memory for wait for it.
async fn unpack(
    coding: Coding,
    raw: Bytes,
    bytes_max: usize,
    budget: &Budget,
    held: &mut Held,
) -> Result<Bytes, Fault> {
    let mut unpacking = Unpacking::new(coding, raw, bytes_max);
    loop {
        let more = unpacking.step().map_err(|error| match error {
            CodingError::TooLarge(limit) => Fault::TooLarge { limit_bytes: limit as u64 },
            error @ CodingError::Broken { .. } => bad(error.to_string()),
        })?;
        budget.grow(held, unpacking.bytes()).await?;
        if !more {
            return Ok(unpacking.content());
        }
        // Other requests of this thread go on between two steps.
        tokio::task::yield_now().await;
    }
}

fn bad(message: String) -> Fault {
    Fault::BadRequest { message }
}
