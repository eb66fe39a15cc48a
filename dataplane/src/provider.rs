//! How a provider is reached: its base URL, its login, and which headers travel.

use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use wire::Dialect;

use crate::config::{Backend, Kind, Secret};

/// Where clients put a credential, in the order in which it is looked for.
pub const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Base {
    /// TLS.
    pub https: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// As the `host` header says it.
    pub authority: HeaderValue,
    /// Before every path; empty or "/something".
    pub prefix: String,
    /// The authority that vouches for it, instead of the system's roots.
    pub ca_file: Option<PathBuf>,
}

impl Base {
    /// Reads an http or https URL.
    ///
    /// # Errors
    /// What is allowed, in words.
    pub fn parse(url: &str, ca_file: Option<PathBuf>) -> Result<Self, String> {
        let uri: http::Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("http or https".to_owned()),
        };
        let authority = uri.authority().ok_or("a host is missing")?;
        if authority.as_str().contains('@') {
            return Err("user info does not belong into a URL".to_owned());
        }
        if uri.query().is_some() {
            return Err("a query does not belong into a base URL".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("a host is missing".to_owned());
        }
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        let shown = HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { https, host, port, authority: shown, prefix, ca_file })
    }
}

/// Whether a header of a client never travels on: hop-by-hop, its credentials, and what we set ourselves (WIRE.md §7.2).
fn request_stays(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "authorization"
            | "x-api-key"
            | "api-key"
            | "x-goog-api-key"
            | "cookie"
            | "accept-encoding"
            | "content-length"
            | "content-encoding"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "forwarded"
            | "anthropic-dangerous-direct-browser-access"
    ) || name.starts_with("x-forwarded-")
        || name.starts_with("x-llmb-")
}

/// Whether a header of a server concerns one hop alone.
fn answer_stays(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    ) || name.starts_with("x-forwarded-")
}

/// Headers that we add to an answer.
const ANSWER_ADDED: usize = 6;

/// Whether a `connection` header names this one.
fn named(connection: Option<&HeaderValue>, name: &HeaderName) -> bool {
    let told = connection.and_then(|value| value.to_str().ok());
    told.is_some_and(|told| told.split(',').any(|token| token.trim().eq_ignore_ascii_case(name.as_str())))
}

/// The headers to send to `backend` for a client's request of `dialect`.
pub fn request_headers(client: &HeaderMap, backend: &Backend, dialect: Dialect) -> HeaderMap {
    // The connection keeps this map for the head of the answer, which then has room for what we add to it.
    let mut headers = HeaderMap::with_capacity(client.len() + 3 + ANSWER_ADDED);
    let connection = client.get(header::CONNECTION);
    for (name, value) in client {
        if !request_stays(name.as_str()) && !named(connection, name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::HOST, backend.base.authority.clone());
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if !client.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if dialect == Dialect::Anthropic && !client.contains_key("anthropic-version") {
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    }
    if let Some(secret) = &backend.credential {
        login(&mut headers, backend.kind, dialect, secret);
    }
    headers
}

/// The headers of a client's request that another data plane gets: all but those of one hop, and what told how the body
/// was packed.
pub fn headers_passed_on(client: &HeaderMap) -> HeaderMap {
    let connection = client.get(header::CONNECTION);
    let packed = [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::EXPECT];
    let stays =
        |name: &HeaderName| answer_stays(name.as_str()) || packed.contains(name) || named(connection, name);
    let mut headers = HeaderMap::with_capacity(client.len() + ANSWER_ADDED);
    for (name, value) in client.iter().filter(|(name, _)| !stays(name)) {
        headers.append(name.clone(), value.clone());
    }
    headers
}

/// Presents the product's own credential as the kind wants it.
fn login(headers: &mut HeaderMap, kind: Kind, dialect: Dialect, secret: &Secret) {
    let plain = HeaderValue::from_str(&secret.0);
    let bearer = HeaderValue::from_str(&format!("Bearer {}", secret.0));
    let (Ok(mut plain), Ok(mut bearer)) = (plain, bearer) else { return };
    plain.set_sensitive(true);
    bearer.set_sensitive(true);
    match (kind, dialect) {
        (Kind::Anthropic, _) => {
            headers.insert("x-api-key", plain);
        }
        (Kind::Gemini, Dialect::Gemini) => {
            headers.insert("x-goog-api-key", plain);
        }
        _ => {
            headers.insert(header::AUTHORIZATION, bearer);
        }
    }
}

/// Leaves of an answer's headers those that reach the client. `length_kept` says that the body keeps its length.
pub fn keep_for_client(headers: &mut HeaderMap, length_kept: bool) {
    let connection = headers.get(header::CONNECTION).cloned();
    let stays = |name: &&HeaderName| answer_stays(name.as_str()) || named(connection.as_ref(), name);
    while let Some(name) = headers.keys().find(stays).cloned() {
        headers.remove(name);
    }
    if !length_kept {
        headers.remove(header::CONTENT_LENGTH);
    }
    headers.reserve(ANSWER_ADDED);
}

#[cfg(test)]
mod tests {
    use super::Base;

    #[test]
    fn bases() {
        let base = Base::parse("http://[::1]:11434/ollama/", None).unwrap();
        assert_eq!((base.host.as_str(), base.port, base.prefix.as_str()), ("::1", 11434, "/ollama"));
        assert_eq!(base.authority, "[::1]:11434");
        assert!(Base::parse("http://a b/", None).is_err());
        let base = Base::parse("https://api.example.com", None).unwrap();
        assert_eq!((base.https, base.port, base.prefix.as_str()), (true, 443, ""));
        for (url, word) in [
            ("ftp://x", "http or https"),
            ("x", "http or https"),
            ("http://u:p@x", "user info"),
            ("http://x/?a", "query"),
        ] {
            assert!(Base::parse(url, None).unwrap_err().contains(word), "{url}");
        }
    }
}
