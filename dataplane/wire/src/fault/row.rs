//! The table of faults: status, type and code in each dialect.

use super::Fault;
use crate::dialect::Dialect;

/// How one fault is told.
pub(super) struct Row {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) param: Option<&'static str>,
    pub(super) anthropic: (u16, &'static str),
    pub(super) gemini: (u16, &'static str),
}

impl Row {
    pub(super) fn status(&self, dialect: Dialect) -> u16 {
        match dialect {
            Dialect::Anthropic => self.anthropic.0,
            Dialect::Gemini => self.gemini.0,
            _ => self.status,
        }
    }
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

type Told = (u16, &'static str);

const fn row(
    status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    anthropic: Told,
    gemini: Told,
) -> Row {
    Row { status, kind, code, param: None, anthropic, gemini }
}

const fn overloaded(code: &'static str) -> Row {
    row(503, SERVER, Some(code), (529, "overloaded_error"), (503, "UNAVAILABLE"))
}

const fn broken(code: &'static str) -> Row {
    row(502, SERVER, Some(code), (500, "api_error"), (500, "INTERNAL"))
}

pub(super) fn of(fault: &Fault) -> Row {
    let refused = (400, INVALID);
    let argument = (400, "INVALID_ARGUMENT");
    match fault {
        Fault::BadRequest { .. } => row(400, INVALID, None, refused, argument),
        Fault::TooLong { .. } => row(400, INVALID, Some("context_length_exceeded"), refused, argument),
        Fault::TooLarge { .. } => {
            row(413, INVALID, Some("request_too_large"), (413, "request_too_large"), argument)
        }
        Fault::UnknownModel { .. } => Row {
            param: Some("model"),
            ..row(404, INVALID, Some("model_not_found"), (404, "not_found_error"), (404, "NOT_FOUND"))
        },
        Fault::UnknownPath { .. } => {
            row(404, INVALID, Some("unknown_url"), (404, "not_found_error"), (404, "NOT_FOUND"))
        }
        Fault::Method { .. } => row(405, INVALID, Some("method_not_allowed"), (405, INVALID), argument),
        Fault::Unsupported { .. } => {
            row(501, INVALID, Some("unsupported_operation"), (501, INVALID), (501, "UNIMPLEMENTED"))
        }
        Fault::WrongDialect { .. } => {
            Row { param: Some("model"), ..row(400, INVALID, Some("wrong_dialect"), refused, argument) }
        }
        Fault::MediaType { .. } => {
            row(415, INVALID, Some("unsupported_media_type"), (415, INVALID), argument)
        }
        Fault::Unauthorized => row(
            401,
            INVALID,
            Some("invalid_api_key"),
            (401, "authentication_error"),
            (401, "UNAUTHENTICATED"),
        ),
        Fault::QueueFull { .. } => limited(),
        Fault::QueueDeadline { .. } => overloaded("overloaded"),
        Fault::NoBackend { .. } => overloaded("no_upstream"),
        Fault::Spare => overloaded("spare"),
        Fault::Draining { .. } => overloaded("draining"),
        Fault::Memory { .. } => overloaded("memory"),
        Fault::UpstreamConnect { .. } | Fault::UpstreamBroken { .. } => broken("upstream_error"),
        Fault::Truncated { .. } => broken("upstream_truncated"),
        Fault::UpstreamTimeout { .. } => timeout(),
        Fault::UpstreamAuth { .. } => {
            row(502, "api_error", Some("upstream_auth"), (502, "api_error"), (500, "INTERNAL"))
        }
        Fault::Internal => row(500, SERVER, Some("internal_error"), (500, "api_error"), (500, "INTERNAL")),
    }
}

const fn limited() -> Row {
    row(
        429,
        "rate_limit_error",
        Some("rate_limit_exceeded"),
        (429, "rate_limit_error"),
        (429, "RESOURCE_EXHAUSTED"),
    )
}

const fn timeout() -> Row {
    row(504, SERVER, Some("timeout"), (504, "timeout_error"), (504, "DEADLINE_EXCEEDED"))
}

/// The row for a status that a server chose; the status itself is kept in every dialect.
pub(super) fn of_status(status: u16) -> Row {
    let (kind, code, anthropic, gemini) = match status {
        401 => (INVALID, Some("invalid_api_key"), "authentication_error", "UNAUTHENTICATED"),
        403 => (INVALID, Some("permission_denied"), "permission_error", "PERMISSION_DENIED"),
        404 => (INVALID, Some("not_found"), "not_found_error", "NOT_FOUND"),
        409 => ("conflict", Some("conflict"), "conflict_error", "ABORTED"),
        413 => (INVALID, Some("request_too_large"), "request_too_large", "INVALID_ARGUMENT"),
        429 => ("rate_limit_error", Some("rate_limit_exceeded"), "rate_limit_error", "RESOURCE_EXHAUSTED"),
        503 | 529 => (SERVER, Some("overloaded"), "overloaded_error", "UNAVAILABLE"),
        504 => (SERVER, Some("timeout"), "timeout_error", "DEADLINE_EXCEEDED"),
        400..=499 => (INVALID, None, INVALID, "INVALID_ARGUMENT"),
        _ => (SERVER, Some("upstream_error"), "api_error", "INTERNAL"),
    };
    row(status, kind, code, (status, anthropic), (status, gemini))
}
