//! OpenAI responses as llama.cpp streams them: without indexes and sequence numbers.

use serde_json::{Value, json};

use super::{Encode, End, Head, Piece, Plan, chat, event};
use crate::date;

pub(crate) struct Llama {
    head: Head,
    text: String,
    open: bool,
    /// Name and arguments so far of a tool call.
    call: Option<(String, String)>,
}

impl Llama {
    pub fn new(head: Head) -> Self {
        Llama { head, text: String::new(), open: false, call: None }
    }

    fn id(&self) -> String {
        self.head.id("resp_", 32)
    }

    fn item_id(&self) -> String {
        self.head.id("msg_", 32)
    }

    fn function(&self, status: &str, name: &str, arguments: &str) -> Value {
        json!({
            "id": self.head.id("fc_", 32), "type": "function_call", "status": status,
            "arguments": arguments, "call_id": self.head.id("call_", 32), "name": name,
        })
    }

    fn message(&self, status: &str, content: &Value) -> Value {
        json!({
            "type": "message", "status": status, "id": self.item_id(), "content": content,
            "role": "assistant",
        })
    }

    fn open_message(&mut self, out: &mut Vec<u8>) {
        self.open = true;
        let item = self.message("in_progress", &json!([]));
        event(&json!({"type": "response.output_item.added", "item": item}), out);
        let part = json!({"type": "output_text", "text": ""});
        event(&json!({"type": "response.content_part.added", "item_id": self.item_id(), "part": part}), out);
    }

    fn close_message(&self, out: &mut Vec<u8>) -> Value {
        let part = output_text(&self.text);
        let done = json!({"type": "response.output_text.done", "item_id": self.item_id(), "text": self.text});
        event(&done, out);
        event(&json!({"type": "response.content_part.done", "item_id": self.item_id(), "part": part}), out);
        self.message("completed", &json!([part]))
    }

    fn response(&self, output: &Value, end: &End) -> Value {
        let (prompt, output_tokens) = (self.head.prompt_tokens, end.output_tokens);
        let (cached, _) = self.head.split();
        json!({
            "id": self.id(), "object": "response", "created_at": date::unix().as_secs(),
            "status": "completed", "model": self.head.model, "output": output, "usage": {
                "input_tokens": prompt, "output_tokens": output_tokens,
                "total_tokens": prompt + output_tokens, "input_tokens_details": {"cached_tokens": cached},
            },
        })
    }
}

impl Encode for Llama {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let response = json!({"id": self.id(), "object": "response", "status": "in_progress"});
        for name in ["response.created", "response.in_progress"] {
            event(&json!({"type": name, "response": response}), out);
        }
    }

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Text(text) => {
                if !self.open {
                    self.open_message(out);
                }
                self.text.push_str(text);
                let id = self.item_id();
                event(&json!({"type": "response.output_text.delta", "item_id": id, "delta": text}), out);
            }
            Piece::Call(name) => {
                self.call = Some((name.clone(), String::new()));
                let item = self.function("in_progress", name, "");
                event(&json!({"type": "response.output_item.added", "item": item}), out);
            }
            Piece::Args(part) => {
                if let Some((_, arguments)) = self.call.as_mut() {
                    arguments.push_str(part);
                }
                let id = self.head.id("fc_", 32);
                let delta =
                    json!({"type": "response.function_call_arguments.delta", "delta": part, "item_id": id});
                event(&delta, out);
            }
        }
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        let item = match &self.call {
            Some((name, arguments)) => Some(self.function("completed", name, arguments)),
            None if self.open => Some(self.close_message(out)),
            None => None,
        };
        if let Some(item) = &item {
            event(&json!({"type": "response.output_item.done", "item": item}), out);
        }
        let response = self.response(&json!(item.into_iter().collect::<Vec<_>>()), end);
        let mut last = json!({"type": "response.completed", "response": response});
        chat::extras(&self.head, end, &mut last);
        event(&last, out);
    }

    fn error(&mut self, body: &Value, out: &mut Vec<u8>) {
        super::data(body, out);
    }

    fn whole(&self, plan: &Plan, end: &End) -> Value {
        let item = match plan.whole() {
            (_, Some(tool)) => self.function("completed", &tool.name, &tool.arguments),
            (text, None) => self.message("completed", &json!([output_text(&text)])),
        };
        let mut body = self.response(&json!([item]), end);
        body["completed_at"] = body["created_at"].clone();
        body
    }
}

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}
