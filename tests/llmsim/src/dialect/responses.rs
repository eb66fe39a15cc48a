//! OpenAI responses.

use serde_json::{Value, json};

use super::{Encode, End, Finish, Head, Piece, Plan, event};
use crate::{date, settings::Kind};

pub(crate) struct Responses {
    head: Head,
    id: String,
    sequence: u64,
    text: String,
    /// Name and arguments so far of a tool call.
    call: Option<(String, String)>,
    open: bool,
}

impl Responses {
    pub fn new(head: Head) -> Self {
        let id = head.id("resp_", 48);
        Responses { head, id, sequence: 0, text: String::new(), call: None, open: false }
    }

    fn response(&self, status: &str, output: &Value, end: Option<&End>) -> Value {
        let details = match end.map(|end| end.finish) {
            Some(Finish::Length) => json!({"reason": "max_output_tokens"}),
            _ => Value::Null,
        };
        json!({
            "id": self.id, "object": "response", "created_at": self.head.created, "status": status,
            "completed_at": end.map(|_| date::unix().as_secs()),
            "model": self.head.model, "output": output, "parallel_tool_calls": true, "tool_choice": "auto",
            "tools": [], "error": null, "incomplete_details": details, "instructions": null,
            "metadata": {}, "temperature": 1.0, "top_p": 1.0, "store": false,
            "text": {"format": {"type": "text"}}, "truncation": "disabled",
            "usage": end.map(|end| usage(&self.head, end)),
        })
    }

    fn emit(&mut self, mut value: Value, out: &mut Vec<u8>) {
        value["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        event(&value, out);
    }

    fn message(&self, status: &str, content: Value) -> Value {
        let id = self.head.id("msg_", 48);
        json!({"id": id, "type": "message", "role": "assistant", "status": status, "content": content})
    }

    fn function(&self, status: &str, name: &str, arguments: &str) -> Value {
        json!({
            "id": self.head.id("fc_", 48), "type": "function_call", "call_id": self.head.id("call_", 24),
            "name": name, "arguments": arguments, "status": status,
        })
    }

    fn open_message(&mut self, out: &mut Vec<u8>) {
        self.open = true;
        let item = self.message("in_progress", json!([]));
        let (id, part) = (item["id"].clone(), output_text(""));
        self.emit(json!({"type": "response.output_item.added", "output_index": 0, "item": item}), out);
        let added = json!({
            "type": "response.content_part.added", "item_id": id, "output_index": 0, "content_index": 0,
            "part": part,
        });
        self.emit(added, out);
    }

    fn close_message(&mut self, status: &str, out: &mut Vec<u8>) -> Value {
        let part = output_text(&self.text);
        let item = self.message(status, json!([part]));
        let done = json!({
            "type": "response.output_text.done", "item_id": item["id"], "output_index": 0,
            "content_index": 0, "text": self.text, "logprobs": [],
        });
        self.emit(done, out);
        let done = json!({
            "type": "response.content_part.done", "item_id": item["id"], "output_index": 0,
            "content_index": 0, "part": part,
        });
        self.emit(done, out);
        item
    }

    fn close_call(&mut self, status: &str, out: &mut Vec<u8>) -> Value {
        let (name, arguments) = self.call.clone().unwrap_or_default();
        let item = self.function(status, &name, &arguments);
        let done = json!({
            "type": "response.function_call_arguments.done", "item_id": item["id"], "output_index": 0,
            "name": name, "arguments": arguments,
        });
        self.emit(done, out);
        item
    }
}

impl Encode for Responses {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let response = self.response("in_progress", &json!([]), None);
        self.emit(json!({"type": "response.created", "response": response}), out);
        self.emit(json!({"type": "response.in_progress", "response": response}), out);
    }

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Text(text) => {
                if !self.open {
                    self.open_message(out);
                }
                self.text.push_str(text);
                let delta = json!({
                    "type": "response.output_text.delta", "item_id": self.head.id("msg_", 48),
                    "output_index": 0, "content_index": 0, "delta": text, "logprobs": [],
                });
                self.emit(delta, out);
            }
            Piece::Call(name) => {
                self.call = Some((name.clone(), String::new()));
                let item = self.function("in_progress", name, "");
                self.emit(
                    json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
                    out,
                );
            }
            Piece::Args(part) => {
                if let Some((_, arguments)) = self.call.as_mut() {
                    arguments.push_str(part);
                }
                let delta = json!({
                    "type": "response.function_call_arguments.delta", "item_id": self.head.id("fc_", 48),
                    "output_index": 0, "delta": part,
                });
                self.emit(delta, out);
            }
        }
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        let status = status(end.finish);
        let item = match (&self.call, self.open) {
            (Some(_), _) => Some(self.close_call(status, out)),
            (None, true) => Some(self.close_message(status, out)),
            (None, false) => None,
        };
        if let Some(item) = &item {
            self.emit(json!({"type": "response.output_item.done", "output_index": 0, "item": item}), out);
        }
        let output = json!(item.into_iter().collect::<Vec<_>>());
        let response = self.response(status, &output, Some(end));
        self.emit(json!({"type": format!("response.{status}"), "response": response}), out);
    }

    fn error(&mut self, body: &Value, out: &mut Vec<u8>) {
        let error = &body["error"];
        let value = json!({
            "type": "error", "code": error["code"], "message": error["message"], "param": error["param"],
        });
        self.emit(value, out);
    }

    fn whole(&self, plan: &Plan, end: &End) -> Value {
        let status = status(end.finish);
        let item = match plan.whole() {
            (_, Some(tool)) => self.function(status, &tool.name, &tool.arguments),
            (text, None) => self.message(status, json!([output_text(&text)])),
        };
        self.response(status, &json!([item]), Some(end))
    }
}

fn status(finish: Finish) -> &'static str {
    if finish == Finish::Length { "incomplete" } else { "completed" }
}

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// Ollama and LM Studio write a zero there, whatever was cached.
fn usage(head: &Head, end: &End) -> Value {
    let tells = matches!(head.kind, Kind::Openai | Kind::Vllm);
    let cached = if tells { head.split().0 } else { 0 };
    json!({
        "input_tokens": head.prompt_tokens, "output_tokens": end.output_tokens,
        "total_tokens": head.prompt_tokens + end.output_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    })
}
