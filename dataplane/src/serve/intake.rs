//! Reads a request body within its bounds, and undoes its compression.

use std::{future::poll_fn, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::Instant;
use wire::Fault;

use super::{
    Limits,
    budget::{Budget, Held},
};
use crate::{
    coding::{Coding, CodingError, Unpacking},
    deadline::Alarm,
    wake,
};

/// Beyond the wait for a piece, the whole body may take as long as it would at this rate.
const BYTES_PER_S_MIN: u64 = 16 * 1024;
/// Bytes of a refused body that are read and thrown away.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// A buffer is not made larger than this on the word of a `content-length` alone.
const TRUSTED_BYTES: usize = 1024 * 1024;

/// The body of a request, decompressed, at most `body_bytes_max` long, and the memory that it holds.
pub async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    limits: &Limits,
    budget: &Budget,
    alarm: &Alarm,
) -> Result<(Bytes, Held), Fault> {
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut held = Held::of(told);
    let raw = match media_type(headers).and_then(|()| coding(headers)) {
        Ok(coding) => {
            collect(&mut body, told, limits, budget, &mut held, alarm).await.map(|raw| (raw, coding))
        }
        Err(fault) => Err(Refused::from(fault)),
    };
    match raw {
        Ok((raw, None)) => Ok((raw, held)),
        Ok((raw, Some(coding))) => {
            let plain = Box::pin(unpack(coding, raw, limits.body_bytes_max, budget, &mut held)).await?;
            Ok((plain, held))
        }
        Err(Refused { fault, slow }) => {
            // A client that waits for `100 Continue` has sent nothing yet, and would if we read on.
            if !slow && !body.is_end_stream() && !headers.contains_key(header::EXPECT) {
                tokio::task::spawn_local(tokio::time::timeout(DISCARD_TIMEOUT, discard(body)));
            }
            Err(fault)
        }
    }
}

/// A body that is not read to its end.
struct Refused {
    fault: Fault,
    /// It comes too slowly to be read on for the sake of its client.
    slow: bool,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, slow: false }
    }
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
    if value == "application/json" {
        return Ok(());
    }
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

/// Reads a body of which `told` bytes are announced; only what has come is counted.
async fn collect(
    body: &mut Incoming,
    told: usize,
    limits: &Limits,
    budget: &Budget,
    held: &mut Held,
    alarm: &Alarm,
) -> Result<Bytes, Refused> {
    let bytes_max = limits.body_bytes_max;
    let too_large = || Refused::from(Fault::TooLarge { limit_bytes: bytes_max as u64 });
    if told > bytes_max {
        return Err(too_large());
    }
    let began = Instant::now();
    let mut length = 0;
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while !body.is_end_stream() {
        let frame = match next(body, alarm, deadline(began, length, limits.piece_wait)).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(bad(format!("the body broke off: {error}")).into()),
            Ok(None) => break,
            Err(Late) => return Err(Refused { fault: bad(slow(began, length, told)), slow: true }),
        };
        let Ok(piece) = frame.into_data() else { continue };
        length += piece.len();
        if length > bytes_max {
            return Err(too_large());
        }
        budget.grow(held, length).await?;
        match first.take() {
            None if all.is_empty() => first = Some(piece),
            None => all.extend_from_slice(&piece),
            Some(start) => {
                all.reserve(told.min(TRUSTED_BYTES).max(start.len() + piece.len()));
                all.extend_from_slice(&start);
                all.extend_from_slice(&piece);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

/// When the next piece must be there: within the wait, and the whole at [`BYTES_PER_S_MIN`] beyond it.
fn deadline(began: Instant, length: usize, piece_wait: Duration) -> Instant {
    let earned = Duration::from_micros(length as u64 * 1_000_000 / BYTES_PER_S_MIN);
    (began + piece_wait + earned).min(Instant::now() + piece_wait)
}

/// A piece did not come by its deadline.
struct Late;

type Piece = Option<Result<Frame<Bytes>, hyper::Error>>;

/// The next piece, which must come by `due`.
async fn next(body: &mut Incoming, alarm: &Alarm, due: Instant) -> Result<Piece, Late> {
    poll_fn(|cx| match wake::poll_frame(body, cx) {
        Poll::Ready(piece) => Poll::Ready(Ok(piece)),
        Poll::Pending => alarm.poll(cx, due, Duration::ZERO).map(|()| Err(Late)),
    })
    .await
}

fn slow(began: Instant, length: usize, told: usize) -> String {
    let seconds = began.elapsed().as_secs();
    let of = if told > length { format!(" of {told}") } else { String::new() };
    format!("the body comes too slowly: {length}{of} bytes within {seconds} s")
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
