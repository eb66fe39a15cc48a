//! Ollama's own chat and generate.

use serde_json::{Value, json};

use super::{Encode, End, Finish, Head, Piece, Plan, json};
use crate::date;

pub(crate) struct Ollama {
    head: Head,
    chat: bool,
    /// A tool call is sent whole: its name and the arguments so far.
    call: Option<(String, String)>,
}

impl Ollama {
    pub fn new(head: Head, chat: bool) -> Self {
        Ollama { head, chat, call: None }
    }

    fn body(&self, text: &str, call: Option<&(String, String)>) -> Value {
        let mut body = json!({
            "model": self.head.model, "created_at": date::rfc3339(date::unix()), "done": false,
        });
        if self.chat {
            body["message"] = json!({"role": "assistant", "content": text});
            if let Some((name, arguments)) = call {
                let arguments: Value = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
                body["message"]["tool_calls"] = json!([{
                    "id": self.head.id("call_", 8),
                    "function": {"index": 0, "name": name, "arguments": arguments},
                }]);
            }
        } else {
            body["response"] = json!(text);
        }
        body
    }

    /// The last line: durations in ns, zero counts left out.
    fn done(&self, end: &End, body: &mut Value) {
        body["done"] = json!(true);
        body["done_reason"] = json!(match end.finish {
            Finish::Length => "length",
            Finish::Load => "load",
            Finish::Unload => "unload",
            Finish::Stop | Finish::Call => "stop",
        });
        if matches!(end.finish, Finish::Load | Finish::Unload) {
            return;
        }
        let timing = &end.timing;
        for (name, value) in [
            ("total_duration", timing.total().as_nanos() as u64),
            ("load_duration", timing.load.as_nanos() as u64),
            ("prompt_eval_count", u64::from(self.head.prompt_tokens)),
            ("prompt_eval_duration", timing.prefill.as_nanos() as u64),
            ("eval_count", u64::from(end.output_tokens)),
            ("eval_duration", timing.decode.as_nanos() as u64),
        ] {
            if value > 0 {
                body[name] = json!(value);
            }
        }
    }
}

impl Encode for Ollama {
    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Text(text) => line(&self.body(text, None), out),
            Piece::Call(name) => self.call = Some((name.clone(), String::new())),
            Piece::Args(part) => {
                if let Some((_, arguments)) = self.call.as_mut() {
                    arguments.push_str(part);
                }
            }
        }
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        if end.finish == Finish::Call {
            line(&self.body("", self.call.as_ref()), out);
        }
        let mut last = self.body("", None);
        self.done(end, &mut last);
        line(&last, out);
    }

    fn error(&mut self, body: &Value, out: &mut Vec<u8>) {
        line(body, out);
    }

    fn whole(&self, plan: &Plan, end: &End) -> Value {
        let (text, tool) = plan.whole();
        let call = tool.map(|tool| (tool.name, tool.arguments)).filter(|_| end.finish == Finish::Call);
        let mut body = self.body(&text, call.as_ref());
        self.done(end, &mut body);
        body
    }
}

fn line(value: &Value, out: &mut Vec<u8>) {
    json(value, out);
    out.push(b'\n');
}
