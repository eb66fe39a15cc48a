//! The shapes of error bodies.

use serde_json::{Value, json};

use super::row::Row;
use crate::dialect::Dialect;

pub(super) fn render(
    dialect: Dialect,
    row: &Row,
    message: &str,
    retry_after_s: Option<u32>,
    request_id: &str,
) -> String {
    let body = match dialect {
        Dialect::Anthropic => anthropic(row, message, request_id),
        Dialect::Gemini => gemini(row, message, retry_after_s),
        Dialect::Ollama => json!({ "error": message }),
        _ => json!({
            "error": { "message": message, "type": row.kind, "param": row.param, "code": row.code },
        }),
    };
    body.to_string()
}

fn anthropic(row: &Row, message: &str, request_id: &str) -> Value {
    json!({
        "type": "error",
        "error": { "type": row.anthropic.1, "message": message },
        "request_id": request_id,
    })
}

fn gemini(row: &Row, message: &str, retry_after_s: Option<u32>) -> Value {
    let (code, status) = row.gemini;
    let mut error = json!({ "code": code, "message": message, "status": status });
    if let Some(seconds) = retry_after_s {
        error["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s"),
        }]);
    }
    json!({ "error": error })
}
