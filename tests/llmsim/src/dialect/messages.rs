//! Anthropic messages.

use serde_json::{Value, json};

use super::{Encode, End, Finish, Head, Piece, Plan, event};
use crate::settings::Kind;

pub(crate) struct Messages {
    head: Head,
    id: String,
    open: bool,
}

impl Messages {
    pub fn new(head: Head) -> Self {
        let id = match head.kind {
            Kind::Llamacpp => head.id("chatcmpl-", 32),
            _ => head.id("msg_", 24),
        };
        Messages { head, id, open: false }
    }

    fn message(&self, content: &Value, stop: &Value, usage: &Value) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.head.model,
            "content": content, "stop_reason": stop, "stop_sequence": null, "usage": usage,
        })
    }

    fn usage(&self, output: u32) -> Value {
        let (cached, fresh) = self.head.split();
        let mut usage = json!({"input_tokens": self.head.prompt_tokens, "output_tokens": output});
        if matches!(self.head.kind, Kind::Anthropic | Kind::Llamacpp) {
            usage["input_tokens"] = json!(fresh);
        }
        match self.head.kind {
            Kind::Anthropic => {
                usage["cache_creation_input_tokens"] = json!(0);
                usage["cache_read_input_tokens"] = json!(cached);
                usage["cache_creation"] =
                    json!({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0});
                usage["service_tier"] = json!("standard");
            }
            Kind::Llamacpp => usage["cache_read_input_tokens"] = json!(cached),
            _ => {}
        }
        usage
    }

    fn open(&mut self, block: &Value, out: &mut Vec<u8>) {
        self.open = true;
        event(&json!({"type": "content_block_start", "index": 0, "content_block": block}), out);
        if self.head.kind == Kind::Anthropic {
            event(&json!({"type": "ping"}), out);
        }
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        event(&json!({"type": "content_block_delta", "index": 0, "delta": delta}), out);
    }

    fn tool_id(&self) -> String {
        match self.head.kind {
            Kind::Llamacpp => self.head.id("", 32),
            _ => self.head.id("toolu_", 24),
        }
    }
}

impl Encode for Messages {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let output = u32::from(self.head.kind == Kind::Anthropic);
        let message = self.message(&json!([]), &Value::Null, &self.usage(output));
        event(&json!({"type": "message_start", "message": message}), out);
    }

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Text(text) => {
                if !self.open {
                    self.open(&json!({"type": "text", "text": ""}), out);
                }
                self.delta(&json!({"type": "text_delta", "text": text}), out);
            }
            Piece::Call(name) => {
                let mut block = json!({"type": "tool_use", "id": self.tool_id(), "name": name});
                if self.head.kind != Kind::Llamacpp {
                    block["input"] = json!({});
                }
                self.open(&block, out);
            }
            Piece::Args(part) => {
                self.delta(&json!({"type": "input_json_delta", "partial_json": part}), out);
            }
        }
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        if self.open {
            event(&json!({"type": "content_block_stop", "index": 0}), out);
        }
        let usage = match self.head.kind {
            Kind::Anthropic | Kind::Llamacpp => json!({"output_tokens": end.output_tokens}),
            _ => self.usage(end.output_tokens),
        };
        let delta = json!({"stop_reason": stop(end.finish), "stop_sequence": null});
        event(&json!({"type": "message_delta", "delta": delta, "usage": usage}), out);
        event(&json!({"type": "message_stop"}), out);
    }

    fn error(&mut self, body: &Value, out: &mut Vec<u8>) {
        let mut body = body.clone();
        body["type"] = json!("error");
        event(&body, out);
    }

    fn whole(&self, plan: &Plan, end: &End) -> Value {
        let content = match plan.whole() {
            (_, Some(tool)) => {
                let input: Value = serde_json::from_str(&tool.arguments).unwrap_or_else(|_| json!({}));
                json!([{"type": "tool_use", "id": self.tool_id(), "name": tool.name, "input": input}])
            }
            (text, None) => json!([{"type": "text", "text": text}]),
        };
        self.message(&content, &json!(stop(end.finish)), &self.usage(end.output_tokens))
    }
}

fn stop(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "max_tokens",
        Finish::Call => "tool_use",
        Finish::Stop | Finish::Load | Finish::Unload => "end_turn",
    }
}
