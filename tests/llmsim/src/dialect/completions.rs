//! OpenAI's legacy completions.

use serde_json::{Value, json};

use super::{Encode, End, Head, Piece, Plan, chat, data};
use crate::settings::Kind;

pub(crate) struct Completions {
    head: Head,
    id: String,
}

impl Completions {
    pub fn new(head: Head) -> Self {
        let id = match head.kind {
            Kind::Llamacpp => head.id("chatcmpl-", 32),
            _ => head.id("cmpl-", 29),
        };
        Completions { head, id }
    }

    fn body(&self, text: &str, finish: &Value) -> Value {
        let choice = json!({"text": text, "index": 0, "logprobs": null, "finish_reason": finish});
        self.frame(json!([choice]))
    }

    fn frame(&self, choices: Value) -> Value {
        let mut body = json!({
            "id": self.id, "object": "text_completion", "created": self.head.created,
            "model": self.head.model, "choices": choices,
        });
        if self.head.kind == Kind::Llamacpp {
            body["system_fingerprint"] = json!("b11434-simulated");
        }
        body
    }
}

impl Encode for Completions {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        if let Piece::Text(text) = piece {
            data(&self.body(text, &Value::Null), out);
        }
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        let mut last = self.body("", &json!(chat::finish(end.finish)));
        if self.head.kind == Kind::Llamacpp {
            last["usage"] = chat::usage(&self.head, end);
            chat::extras(&self.head, end, &mut last);
        }
        data(&last, out);
        if self.head.include_usage && self.head.kind != Kind::Llamacpp {
            let mut last = self.frame(json!([]));
            last["usage"] = chat::usage(&self.head, end);
            chat::extras(&self.head, end, &mut last);
            data(&last, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn error(&mut self, body: &Value, out: &mut Vec<u8>) {
        data(body, out);
    }

    fn whole(&self, plan: &Plan, end: &End) -> Value {
        let mut body = self.body(&plan.whole().0, &json!(chat::finish(end.finish)));
        body["usage"] = chat::usage(&self.head, end);
        chat::extras(&self.head, end, &mut body);
        body
    }
}
