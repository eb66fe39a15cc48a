//! Where a backend is: normalised base URLs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A URL has at most this many bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// Ends of a path that belong to a dialect, longest first: each dialect's path is put behind the base.
/// `/openai/v1` keeps its `/openai`: that is a prefix, of Azure and Groq.
const TAILS: [&str; 6] = ["/v1beta/openai", "/api/v0", "/api/v1", "/v1beta", "/v1", "/api"];
/// The same for a hosted service: at OpenRouter `/api` is a prefix, only LM Studio's own API is `/api/v1`.
const HOSTED_TAILS: [&str; 3] = ["/v1beta/openai", "/v1beta", "/v1"];

/// http or https, host, optional port and path prefix, without `/` at the end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl {
    text: String,
    scheme: usize,
}

/// Why a text is no base URL. Never repeats user info, which may hold a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Not http or https.
    #[error("{0:?} is not allowed: http or https")]
    Scheme(String),
    /// No usable host or port.
    #[error("{0:?} is not allowed: {1}")]
    Host(String, &'static str),
    /// `user:password@`.
    #[error("user info before the host is not allowed: use credential")]
    User,
    /// `?` or `#`.
    #[error("a query or fragment is not allowed: only scheme, host, port and path prefix")]
    Query,
    /// Too long.
    #[error("{0} bytes, at most {URL_BYTES_MAX} are allowed")]
    Long(usize),
    /// White space or control characters.
    #[error("white space and control characters are not allowed")]
    Space,
}

impl BaseUrl {
    /// Checks and normalises.
    ///
    /// # Errors
    /// [`UrlFault`] says what is allowed.
    pub fn new(text: &str) -> Result<Self, UrlFault> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(UrlFault::Long(text.len()));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(UrlFault::Space);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlFault::User);
        }
        if path.contains(['?', '#']) {
            return Err(UrlFault::Query);
        }
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(UrlFault::Scheme(text.to_owned()));
        }
        let host = authority_checked(authority).map_err(|why| UrlFault::Host(text.to_owned(), why))?;
        let default = if scheme == "http" { ":80" } else { ":443" };
        let host = host.strip_suffix(default).unwrap_or(&host);
        let bare = BaseUrl { scheme: scheme.len(), text: format!("{scheme}://{host}") };
        let tails = if bare.is_hosted() { HOSTED_TAILS.as_slice() } else { TAILS.as_slice() };
        Ok(BaseUrl { text: format!("{}{}", bare.text, prefix(path, tails)), ..bare })
    }

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Equal for URLs that reach one server: `localhost` is 127.0.0.1.
    #[must_use]
    pub fn place(&self) -> String {
        match self.text.strip_prefix("http://localhost") {
            Some(rest) if rest.is_empty() || rest.starts_with([':', '/']) => {
                format!("http://127.0.0.1{rest}")
            }
            _ => self.text.clone(),
        }
    }

    /// Whether it is https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.text[..self.scheme] == *"https"
    }

    /// The host without port and brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = &self.text[self.scheme + 3..];
        let authority = rest.split('/').next().unwrap_or(rest);
        match authority.strip_prefix('[') {
            Some(inner) => inner.split(']').next().unwrap_or(inner),
            None => authority.split(':').next().unwrap_or(authority),
        }
    }

    /// Whether it is a hosted service rather than a machine of one's own: https to a public name.
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        let host = self.host();
        let private = host.parse::<std::net::IpAddr>().is_ok()
            || host == "localhost"
            || !host.contains('.')
            || [".local", ".internal", ".lan", ".localhost", ".home.arpa", ".svc"]
                .iter()
                .any(|end| host.ends_with(end));
        self.is_https() && !private
    }
}

fn authority_checked(authority: &str) -> Result<String, &'static str> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or("an IPv6 address ends with ']'")?;
        let (host, port) = authority.split_at(end + 1);
        if host[1..end].parse::<std::net::Ipv6Addr>().is_err() {
            return Err("the host is not an IPv6 address");
        }
        (host, port)
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        authority.split_at(end)
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '[' | ']' | ':');
    if host.is_empty() || !host.chars().all(plain) {
        return Err("a host is needed, of letters, digits, '-', '_' and '.'");
    }
    match port.strip_prefix(':') {
        Some(digits) if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
            return Err("a port is a number from 1 to 65535");
        }
        Some(digits) if digits.parse::<u16>().unwrap_or(0) == 0 => {
            return Err("a port is a number from 1 to 65535");
        }
        None if !port.is_empty() => return Err("behind the host only a port or a path is allowed"),
        _ => {}
    }
    Ok(authority.to_ascii_lowercase())
}

fn prefix<'a>(path: &'a str, tails: &[&str]) -> &'a str {
    let mut path = path.trim_end_matches('/');
    // As often as it goes, so that a URL that was normalised stays as it is.
    while let Some(rest) = tails.iter().find_map(|tail| path.strip_suffix(tail)) {
        path = rest.trim_end_matches('/');
    }
    path
}

impl TryFrom<String> for BaseUrl {
    type Error = UrlFault;

    fn try_from(text: String) -> Result<Self, UrlFault> {
        BaseUrl::new(&text)
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> String {
        url.text
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised() {
        for (given, want) in [
            ("http://gpu-1:8080", "http://gpu-1:8080"),
            ("http://gpu-1:8080/", "http://gpu-1:8080"),
            ("  HTTP://GPU-1:8080/v1/ ", "http://gpu-1:8080"),
            ("http://localhost:1234/api/v0", "http://localhost:1234"),
            ("http://localhost:1234/api/v1", "http://localhost:1234"),
            ("http://localhost:11434/api", "http://localhost:11434"),
            ("http://h:80/llm/a/v1", "http://h/llm/a"),
            ("https://h.example:443", "https://h.example"),
            ("http://h:443", "http://h:443"),
            ("https://openrouter.ai/api/v1", "https://openrouter.ai/api"),
            ("https://api.groq.com/openai/v1", "https://api.groq.com/openai"),
            (
                "https://generativelanguage.googleapis.com/v1beta/openai/",
                "https://generativelanguage.googleapis.com",
            ),
            ("http://[::1]:8000/v1", "http://[::1]:8000"),
            ("http://h/v1beta", "http://h"),
            ("http://h/myv1", "http://h/myv1"),
            ("http://h//v1/v1/", "http://h"),
        ] {
            let url = BaseUrl::new(given).unwrap();
            assert_eq!(url.as_str(), want, "{given}");
            assert_eq!(BaseUrl::new(want).unwrap(), url, "normalising again changes {want}");
        }
    }

    #[test]
    fn refused() {
        for (given, part) in [
            ("ftp://x", "\"ftp://x\" is not allowed: http or https"),
            ("gpu-1:8080", "http or https"),
            ("", "http or https"),
            ("http://", "host"),
            ("http://h:0", "port"),
            ("http://h:99999", "port"),
            ("http://h:x", "port"),
            ("http://h?x=1", "query"),
            ("http://h/a b", "white space"),
            ("http://[::1", "IPv6"),
            ("http://[zz]", "IPv6"),
            ("http://[::1]x", "behind the host"),
        ] {
            let fault = BaseUrl::new(given).unwrap_err().to_string();
            assert!(fault.contains(part), "{given}: {fault}");
        }
    }

    #[test]
    fn user_info_is_not_repeated() {
        let fault = BaseUrl::new("http://me:hunter2@h").unwrap_err().to_string();
        assert!(!fault.contains("hunter2"), "{fault}");
        let fault = BaseUrl::new("ftp://me:hunter2@h").unwrap_err().to_string();
        assert!(!fault.contains("hunter2"), "{fault}");
        let fault = BaseUrl::new("me:hunter2@h").unwrap_err().to_string();
        assert!(!fault.contains("hunter2"), "{fault}");
    }

    #[test]
    fn hosted() {
        for (url, hosted) in [
            ("https://api.openai.com", true),
            ("http://api.openai.com", false),
            ("https://10.0.0.1", false),
            ("https://localhost:9", false),
            ("https://gpu.internal", false),
        ] {
            assert_eq!(BaseUrl::new(url).unwrap().is_hosted(), hosted, "{url}");
        }
    }
}
