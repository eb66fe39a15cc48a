//! How faults look on the wire.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::{
    answer::Broken,
    dialect::{Encode, Plan},
    engine::Ending,
    fault::Fault,
    flow::{Answer, full},
    settings::Kind,
    trouble::{self, Surface, Trouble},
};

const HTML: &str =
    "<!doctype html><html><head><title>Welcome</title></head><body><h1>It works</h1></body></html>";
const BAD_JSON: &str = "{\"id\": \"simulated\", \"choices\": [{,";
/// Instead of an element in the middle of a stream.
const GARBAGE: &str = "{\"id\": \"simulated\", \"choices\": [{,}]}";
/// Behind a whole answer.
const TRAILING: &[u8] = b"}]}\n";
/// A stream whose length is too short ends in the middle of this token.
const SHORT_TOKEN: usize = 3;
/// Bytes promised by a wrong content length beyond those that come.
const MISSING_BYTES: u64 = 1 << 20;

/// Bytes that follow a response on its connection, whatever its length says.
#[derive(Clone, Debug)]
pub(crate) struct Tail(pub Bytes);

/// The response that a fault puts in the place of any other.
pub(crate) fn instead(kind: Kind, surface: Surface, fault: &Fault) -> Option<Response<Answer>> {
    match fault {
        Fault::Status { code, retry_after } => {
            Some(trouble::answer(kind, surface, &Trouble::Injected(*code, *retry_after)))
        }
        Fault::Html => Some(full(200, "text/html; charset=utf-8", HTML)),
        Fault::Redirect => {
            let mut response = full(307, "text/html", "");
            let elsewhere = HeaderValue::from_static("http://elsewhere.invalid/");
            response.headers_mut().insert(header::LOCATION, elsewhere);
            Some(response)
        }
        _ => None,
    }
}

/// How the engine ends under a fault.
pub(crate) fn ending(fault: Option<&Fault>) -> Ending {
    match fault {
        Some(Fault::DieMidStream { after }) => Ending::Die(*after),
        Some(Fault::Truncate { after } | Fault::ErrorMidStream { after }) => Ending::Truncate(*after),
        Some(Fault::StallMidStream { after }) => Ending::Stall(*after),
        Some(Fault::Stall | Fault::StallAfterHeaders) => Ending::Stall(0),
        _ => Ending::Whole,
    }
}

/// How much later the engine starts.
pub(crate) fn delay(fault: Option<&Fault>) -> Duration {
    match fault {
        Some(Fault::SlowStart(delay)) => *delay,
        _ => Duration::ZERO,
    }
}

/// Whether the fault stands in the place of the whole answer, or of the first element of a stream.
pub(crate) fn at_once(fault: Option<&Fault>, stream: bool) -> Option<&Fault> {
    fault.filter(|fault| match fault {
        Fault::ErrorFirst | Fault::BadJson => true,
        Fault::Garbage { .. } | Fault::ErrorMidStream { .. } => !stream,
        _ => false,
    })
}

/// An element that is not JSON, for the middle of a stream.
pub(crate) fn garbage(content_type: &str, out: &mut Vec<u8>) {
    let text = match content_type {
        "text/event-stream" => format!("data: {GARBAGE}\n\n"),
        "application/x-ndjson" => format!("{GARBAGE}\n"),
        _ => format!(",{GARBAGE}"),
    };
    out.extend_from_slice(text.as_bytes());
}

/// 200 whose first element is an error, or not JSON at all; `encoder` is there for a stream.
pub(crate) fn first(
    fault: &Fault,
    encoder: Option<&mut (dyn Encode + 'static)>,
    error: &Value,
) -> Response<Answer> {
    let bad = matches!(fault, Fault::BadJson | Fault::Garbage { .. });
    let Some(encoder) = encoder else {
        return full(200, "application/json", if bad { BAD_JSON.to_owned() } else { error.to_string() });
    };
    let content_type = encoder.content_type();
    let mut out = Vec::new();
    match (bad, content_type) {
        (false, _) => encoder.error(error, &mut out),
        (true, "text/event-stream") => out.extend_from_slice(format!("data: {BAD_JSON}\n\n").as_bytes()),
        (true, _) => out.extend_from_slice(format!("{BAD_JSON}\n").as_bytes()),
    }
    full(200, content_type, out)
}

/// The first half of a text.
pub(crate) fn half(mut text: String) -> String {
    let mut at = text.len() / 2;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.truncate(at);
    text
}

/// The bytes of a stream up to the middle of an early token.
pub(crate) fn short(encoder: &mut dyn Encode, plan: &Plan) -> u64 {
    let mut bytes = Vec::new();
    encoder.begin(&mut bytes);
    let mut before = bytes.len();
    for piece in plan.pieces.iter().take(SHORT_TOKEN) {
        before = bytes.len();
        encoder.piece(piece, &mut bytes);
    }
    ((before + bytes.len()) / 2) as u64
}

/// Puts a wrong length on an answer where the fault asks for one; `short` is one for a stream.
pub(crate) fn mismeasure(fault: Option<&Fault>, short: u64, response: &mut Response<Answer>) {
    match fault {
        Some(Fault::WrongLength) => lengthen(response),
        Some(Fault::ShortLength) => shorten(short, response),
        Some(Fault::Trailing) if matches!(response.body(), Answer::Full(_)) => {
            response.extensions_mut().insert(Tail(Bytes::from_static(TRAILING)));
        }
        _ => {}
    }
}

/// Promises more bytes than come.
fn lengthen(response: &mut Response<Answer>) {
    let mut promised = MISSING_BYTES;
    match response.body_mut() {
        Answer::Full(bytes) => {
            let bytes = bytes.take();
            promised += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            *response.body_mut() = Answer::Short { bytes, promised, flushed: false };
        }
        Answer::Stream(flow) => flow.breaks(),
        Answer::Short { .. } | Answer::Stuck { .. } | Answer::Silent => {}
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(promised));
}

/// Promises fewer bytes than come.
fn shorten(short: u64, response: &mut Response<Answer>) {
    let mut promised = short;
    if let Answer::Full(bytes) = response.body_mut() {
        let mut bytes = bytes.take().unwrap_or_default();
        let rest = bytes.split_off(bytes.len() / 2);
        promised = bytes.len() as u64;
        *response.body_mut() = Answer::Full(Some(bytes));
        response.extensions_mut().insert(Tail(rest));
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(promised));
}

/// Does to a page what a fault of scope `All` asks for.
pub(crate) async fn page(mut response: Response<Answer>, fault: &Fault) -> Result<Response<Answer>, Broken> {
    match fault {
        Fault::Stall => return std::future::pending().await,
        Fault::StallAfterHeaders | Fault::StallMidStream { .. } => *response.body_mut() = Answer::Silent,
        Fault::DieMidStream { .. } => return Err(Broken::Cut),
        Fault::Reset => return Err(Broken::Reset),
        Fault::Truncate { .. } => {
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.map_err(|_| Broken::Cut)?.to_bytes();
            response = Response::from_parts(parts, Answer::Full(Some(bytes.slice(..bytes.len() / 2))));
        }
        Fault::BadJson | Fault::Garbage { .. } => {
            *response.body_mut() = Answer::Full(Some(Bytes::from_static(BAD_JSON.as_bytes())));
        }
        Fault::ErrorFirst | Fault::ErrorMidStream { .. } => {
            *response.body_mut() = Answer::Full(Some(Bytes::from_static(b"{\"error\":\"simulated error\"}")));
        }
        Fault::SlowStart(delay) => tokio::time::sleep(*delay).await,
        Fault::WrongLength | Fault::ShortLength | Fault::Trailing => {
            mismeasure(Some(fault), 0, &mut response)
        }
        Fault::Refuse
        | Fault::Deaf
        | Fault::ResetAtAccept
        | Fault::HalfOpen
        | Fault::Status { .. }
        | Fault::Html
        | Fault::Redirect => {}
    }
    Ok(response)
}
