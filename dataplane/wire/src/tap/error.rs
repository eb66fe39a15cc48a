//! What a server says about an error, in whatever shape.

use crate::scan::{Bad, Peek, Scan};

/// Characters that are kept of an error that is no sentence.
pub(crate) const MESSAGE_CHARS_MAX: usize = 500;

/// What has been said.
#[derive(Clone, Default, Debug)]
pub(crate) struct Told {
    message: Option<String>,
    kind: Option<String>,
    code: Option<u16>,
    raw: Option<String>,
}

impl Told {
    /// Reads the value of `error`: an object, a string, or something else; null, false and "" are none.
    pub(crate) fn read(&mut self, value: &str) {
        let mut scan = Scan::new(value);
        match scan.peek() {
            Ok(Peek::Object) => {
                self.raw = Some(value.chars().take(MESSAGE_CHARS_MAX).collect());
                let _ = scan.object::<Bad>(|scan, key| {
                    let span = scan.skip()?;
                    self.read_member(key.raw, scan.slice(&span));
                    Ok(())
                });
            }
            Ok(Peek::Text) => {
                if let Some(text) = string(value).filter(|text| !text.is_empty()) {
                    self.message = Some(text);
                }
            }
            Ok(Peek::Null) | Err(_) => {}
            Ok(_) if value == "false" => {}
            Ok(_) => self.raw = Some(value.chars().take(MESSAGE_CHARS_MAX).collect()),
        }
    }

    /// Reads one member of an error object.
    pub(crate) fn read_member(&mut self, key: &str, value: &str) {
        match key {
            "message" => self.message = string(value).or(self.message.take()),
            "type" | "status" => self.kind = string(value).or(self.kind.take()),
            "code" => {
                let digits = value.trim_matches('"');
                self.code = digits.parse().ok().filter(|code| (400..600).contains(code));
                if self.code.is_none() && self.kind.is_none() {
                    self.kind = string(value);
                }
            }
            _ => {}
        }
    }

    /// Whether anything has been said.
    pub(crate) fn is_error(&self) -> bool {
        self.message.is_some() || self.raw.is_some()
    }

    /// The sentence, or what there is instead.
    pub(crate) fn message(&self) -> String {
        let message = self.message.as_ref().or(self.raw.as_ref()).or(self.kind.as_ref());
        message.cloned().unwrap_or_else(|| "the server tells no reason".to_owned())
    }

    /// The HTTP status that fits: the code where it is one, else by type. An error of our own credential
    /// must not look like one of the client's.
    pub(crate) fn status(&self, untold: u16) -> u16 {
        let status = self.code.or_else(|| self.kind.as_deref().and_then(by_kind)).unwrap_or(untold);
        if matches!(status, 401 | 403) { 502 } else { status }
    }
}

fn by_kind(kind: &str) -> Option<u16> {
    Some(match kind {
        "invalid_request_error"
        | "exceed_context_size_error"
        | "BadRequestError"
        | "INVALID_ARGUMENT"
        | "context_length_exceeded"
        | "validation" => 400,
        "authentication_error" | "UNAUTHENTICATED" => 401,
        "permission_error" | "PERMISSION_DENIED" => 403,
        "not_found_error" | "NotFoundError" | "NOT_FOUND" | "model_not_found" => 404,
        "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" | "insufficient_quota" => 429,
        "server_error" | "api_error" | "InternalServerError" | "INTERNAL" => 500,
        "not_supported_error" | "UNIMPLEMENTED" => 501,
        "overloaded_error" | "unavailable_error" | "UNAVAILABLE" | "overloaded" => 503,
        "timeout_error" | "DEADLINE_EXCEEDED" => 504,
        _ => return None,
    })
}

/// The string that a literal stands for; `None` for other values.
pub(crate) fn string(value: &str) -> Option<String> {
    Scan::new(value).text().ok()?.decode().map(std::borrow::Cow::into_owned)
}
