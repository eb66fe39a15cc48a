//! Gemini's generateContent.

use serde_json::{Value, json};

use super::{Encode, End, Finish, Head, Piece, Plan, json};

pub(crate) struct Gemini {
    head: Head,
    output: u32,
    /// An element of the array form has been written.
    comma: bool,
    call: Option<(String, String)>,
}

impl Gemini {
    pub fn new(head: Head) -> Self {
        Gemini { head, output: 0, comma: false, call: None }
    }

    fn body(&self, parts: &Value, finish: Option<Finish>, output: u32) -> Value {
        let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
        if let Some(finish) = finish {
            candidate["finishReason"] = json!(if finish == Finish::Length { "MAX_TOKENS" } else { "STOP" });
        }
        let prompt = self.head.prompt_tokens;
        let mut usage = json!({"promptTokenCount": prompt, "totalTokenCount": prompt + output});
        usage["promptTokensDetails"] = json!([{"modality": "TEXT", "tokenCount": prompt}]);
        let (cached, _) = self.head.split();
        if cached > 0 {
            usage["cachedContentTokenCount"] = json!(cached);
        }
        if output > 0 {
            usage["candidatesTokenCount"] = json!(output);
        }
        json!({
            "candidates": [candidate], "usageMetadata": usage, "modelVersion": self.head.model,
            "responseId": self.head.id("", 22),
        })
    }

    fn part(&self, call: &(String, String)) -> Value {
        let args: Value = serde_json::from_str(&call.1).unwrap_or_else(|_| json!({}));
        json!({
            "functionCall": {"id": self.head.id("call_", 8), "name": call.0, "args": args},
            "thoughtSignature": "c2ltdWxhdGVkIHNpZ25hdHVyZQ==",
        })
    }

    fn element(&mut self, value: &Value, out: &mut Vec<u8>) {
        if self.head.sse {
            out.extend_from_slice(b"data: ");
            json(value, out);
            out.extend_from_slice(b"\r\n\r\n");
        } else {
            out.extend_from_slice(if self.comma { b"\n,\r\n" } else { b"[" });
            self.comma = true;
            serde_json::to_writer_pretty(out, value).expect("a JSON value is written to memory");
        }
    }
}

impl Encode for Gemini {
    fn content_type(&self) -> &'static str {
        if self.head.sse { "text/event-stream" } else { "application/json; charset=UTF-8" }
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        self.output += 1;
        match piece {
            Piece::Text(text) => {
                let body = self.body(&json!([{"text": text}]), None, self.output);
                self.element(&body, out);
            }
            Piece::Call(name) => self.call = Some((name.clone(), String::new())),
            Piece::Args(part) => {
                if let Some((_, arguments)) = self.call.as_mut() {
                    arguments.push_str(part);
                }
            }
        }
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        let parts = match &self.call {
            Some(call) if end.finish == Finish::Call => json!([self.part(call)]),
            _ => json!([{"text": ""}]),
        };
        let body = self.body(&parts, Some(end.finish), end.output_tokens);
        self.element(&body, out);
        if !self.head.sse {
            out.extend_from_slice(b"\n]");
        }
    }

    fn error(&mut self, body: &Value, out: &mut Vec<u8>) {
        self.element(body, out);
        if !self.head.sse {
            out.extend_from_slice(b"\n]");
        }
    }

    fn whole(&self, plan: &Plan, end: &End) -> Value {
        let parts = match plan.whole() {
            (_, Some(tool)) if end.finish == Finish::Call => json!([self.part(&(tool.name, tool.arguments))]),
            (text, _) => json!([{"text": text}]),
        };
        self.body(&parts, Some(end.finish), end.output_tokens)
    }
}
