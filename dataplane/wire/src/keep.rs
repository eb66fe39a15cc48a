//! Keep-alives for clients that wait for an answer, each such that its SDK bears it (WIRE.md §2.7).

use serde_json::json;

use crate::dialect::{Dialect, Operation};
use crate::list::rfc3339;

/// What a client that waits is sent at `now_s`, seconds since the Unix epoch; `queued` is how many wait before it and
/// the seconds that this may take.
pub fn keep_alive(operation: Operation, model: &str, now_s: u64, queued: Option<(u64, u64)>) -> String {
    match operation.dialect() {
        // A comment is all that every SDK of the family skips.
        Dialect::OpenaiChat
        | Dialect::OpenaiResponses
        | Dialect::OpenaiCompletions
        | Dialect::OpenaiEmbeddings => match queued {
            Some((position, seconds)) => {
                format!(": {position} requests before this one, about {seconds} s\n\n")
            }
            None => ": waiting for the first token\n\n".to_owned(),
        },
        Dialect::Anthropic => "event: ping\ndata: {\"type\": \"ping\"}\n\n".to_owned(),
        // A comment makes google-genai for Python raise.
        Dialect::Gemini => "\r\n".to_owned(),
        // A blank line makes ollama for Python raise.
        Dialect::Ollama => {
            let mut body = json!({"model": model, "created_at": rfc3339(now_s), "done": false});
            if operation == Operation::OllamaGenerate {
                body["response"] = json!("");
            } else {
                body["message"] = json!({"role": "assistant", "content": ""});
            }
            format!("{body}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::keep_alive;
    use crate::Operation;

    #[test]
    fn each_dialect_gets_what_its_sdk_bears() {
        let say = |operation| keep_alive(operation, "m", 0, Some((3, 12)));
        assert_eq!(say(Operation::Chat), ": 3 requests before this one, about 12 s\n\n");
        assert!(say(Operation::Messages).starts_with("event: ping\ndata: {"));
        assert_eq!(say(Operation::StreamGenerateContent), "\r\n");
        let line = say(Operation::OllamaChat);
        assert!(
            line.contains("\"message\":{\"content\":\"\"") && !line.contains("\n\n") && line.ends_with("}\n")
        );
        assert!(say(Operation::OllamaGenerate).contains("\"response\":\"\""));
    }
}
