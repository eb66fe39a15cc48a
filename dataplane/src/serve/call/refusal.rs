//! A server's own refusal, and who it is from.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, response::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::super::Body;
use crate::{provider, route::Candidate};

/// Bytes kept of an answer that says why the server failed.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// To read them.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Who answered, or failed.
pub const BACKEND: HeaderName = HeaderName::from_static("x-llmb-backend");
const MODEL: HeaderName = HeaderName::from_static("x-llmb-model");

/// The body of a refusal, as far as it came in time.
pub async fn collected(mut body: Incoming) -> Bytes {
    let mut all = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(chunk) = frame.into_data() {
                let room = REFUSAL_BYTES_MAX - all.len();
                all.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
        }
    };
    // What came by then has to do.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, read).await;
    Bytes::from(all)
}

/// The server's own refusal, for the client.
pub fn said(mut head: Parts, body: Bytes, chosen: &Candidate) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = head.status;
    provider::keep_for_client(&mut head.headers, false);
    mark(&mut head.headers, chosen);
    *response.headers_mut() = head.headers;
    response
}

/// Tells who answered, or failed.
pub fn mark(headers: &mut HeaderMap, chosen: &Candidate) {
    for (header, value) in [(BACKEND, &chosen.backend.name), (MODEL, &chosen.model)] {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(header, value);
        }
    }
}
