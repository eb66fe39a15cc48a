//! A server's own refusal, and who it is from.

use std::{cell::RefCell, sync::Arc, time::Duration};

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
/// Names that are kept as values of headers, a thread.
const VALUES_MAX: usize = 64;
/// Who answered, or failed.
pub const BACKEND: HeaderName = HeaderName::from_static("x-llmb-backend");
const MODEL: HeaderName = HeaderName::from_static("x-llmb-model");

/// A name and the same as the value of a header.
type Kept = Option<(Arc<str>, HeaderValue)>;

thread_local! {
    /// The same few names are told with every answer; each is kept at a place that follows from where it is in memory.
    static VALUES: RefCell<[Kept; VALUES_MAX]> = const { RefCell::new([const { None }; VALUES_MAX]) };
}

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
        if let Some(value) = value_of(value) {
            headers.insert(header, value);
        }
    }
}

/// A name as the value of a header; none where a header may not hold it.
fn value_of(name: &Arc<str>) -> Option<HeaderValue> {
    VALUES.with_borrow_mut(|values| {
        let kept = &mut values[(name.as_ptr() as usize >> 4) % VALUES_MAX];
        if let Some((known, value)) = kept
            && Arc::ptr_eq(known, name)
        {
            return Some(value.clone());
        }
        let value = HeaderValue::from_bytes(name.as_bytes()).ok()?;
        *kept = Some((name.clone(), value.clone()));
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_as_they_are_however_many_there_are() {
        let names: Vec<Arc<str>> = (0..10 * VALUES_MAX).map(|number| format!("m-{number}").into()).collect();
        for name in names.iter().chain(&names).chain([&names[0], &names[0]]) {
            assert_eq!(value_of(name).unwrap(), **name);
        }
        assert_eq!(value_of(&"a\nb".into()), None);
    }
}
