//! OpenAI chat completions, with what each server adds to them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Encode, End, Finish, Head, Piece, Plan, data};
use crate::settings::Kind;

pub(crate) struct Chat {
    head: Head,
    id: String,
}

impl Chat {
    pub fn new(head: Head) -> Self {
        let id = match head.kind {
            Kind::Ollama => format!("chatcmpl-{}", head.seed % 1000),
            Kind::Vllm => head.id("chatcmpl-", 16),
            Kind::Llamacpp => head.id("chatcmpl-", 32),
            _ => head.id("chatcmpl-", 29),
        };
        Chat { head, id }
    }

    fn chunk(&self, delta: &Value, finish: &Value) -> Value {
        let mut choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        if self.logprobs() {
            choice["logprobs"] = Value::Null;
        }
        self.frame(json!([choice]))
    }

    fn logprobs(&self) -> bool {
        !matches!(self.head.kind, Kind::Llamacpp | Kind::Ollama)
    }

    fn frame(&self, choices: Value) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.head.created,
            "model": self.head.model, "choices": choices,
        });
        fingerprint(&self.head, &mut chunk);
        if self.head.include_usage && self.head.kind == Kind::Openai {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

impl Encode for Chat {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let content = if self.head.kind == Kind::Llamacpp { Value::Null } else { json!("") };
        if self.head.kind != Kind::Ollama {
            data(&self.chunk(&json!({"role": "assistant", "content": content}), &Value::Null), out);
        }
    }

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        let delta = match piece {
            Piece::Text(text) if self.head.kind == Kind::Ollama => {
                json!({"role": "assistant", "content": text})
            }
            Piece::Text(text) => json!({"content": text}),
            Piece::Call(name) => json!({"tool_calls": [{
                "index": 0, "id": call_id(&self.head), "type": "function",
                "function": {"name": name, "arguments": ""},
            }]}),
            Piece::Args(part) => json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}),
        };
        data(&self.chunk(&delta, &Value::Null), out);
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        let mut last = self.chunk(&json!({}), &json!(finish(end.finish)));
        if self.head.kind == Kind::Llamacpp && !self.head.include_usage {
            extras(&self.head, end, &mut last);
        }
        data(&last, out);
        if self.head.include_usage {
            let mut last = self.frame(json!([]));
            last["usage"] = usage(&self.head, end);
            extras(&self.head, end, &mut last);
            data(&last, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn error(&mut self, body: &Value, out: &mut Vec<u8>) {
        data(body, out);
    }

    fn whole(&self, plan: &Plan, end: &End) -> Value {
        let (text, tool) = plan.whole();
        let mut message = json!({"role": "assistant", "content": text});
        if self.head.kind == Kind::Openai {
            message["refusal"] = Value::Null;
            message["annotations"] = json!([]);
        }
        if let Some(tool) = tool {
            message["content"] = Value::Null;
            message["tool_calls"] = json!([{
                "id": call_id(&self.head), "type": "function",
                "function": {"name": tool.name, "arguments": tool.arguments},
            }]);
        }
        let mut body = json!({
            "id": self.id, "object": "chat.completion", "created": self.head.created, "model": self.head.model,
            "choices": [{
                "index": 0, "message": message, "finish_reason": finish(end.finish),
            }],
            "usage": usage(&self.head, end),
        });
        if self.logprobs() {
            body["choices"][0]["logprobs"] = Value::Null;
        }
        fingerprint(&self.head, &mut body);
        extras(&self.head, end, &mut body);
        body
    }
}

pub(super) fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::Call => "tool_calls",
        Finish::Stop | Finish::Load | Finish::Unload => "stop",
    }
}

/// `usage`, with the details that each kind gives.
pub(super) fn usage(head: &Head, end: &End) -> Value {
    let mut usage = json!({
        "prompt_tokens": head.prompt_tokens, "completion_tokens": end.output_tokens,
        "total_tokens": head.prompt_tokens + end.output_tokens,
    });
    let (cached, _) = head.split();
    match head.kind {
        Kind::Openai => {
            usage["prompt_tokens_details"] = json!({"cached_tokens": cached, "audio_tokens": 0});
            usage["completion_tokens_details"] = json!({
                "reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            });
        }
        Kind::Llamacpp => usage["prompt_tokens_details"] = json!({"cached_tokens": cached}),
        Kind::Vllm if head.details => usage["prompt_tokens_details"] = json!({"cached_tokens": cached}),
        Kind::Vllm => usage["prompt_tokens_details"] = Value::Null,
        _ => {}
    }
    usage
}

/// What a server tells beside the usage: llama.cpp `timings` in ms, LM Studio `stats` in s.
pub(super) fn extras(head: &Head, end: &End, body: &mut Value) {
    match head.kind {
        Kind::Llamacpp => body["timings"] = timings(head, end),
        Kind::LmStudio => {
            let timing = &end.timing;
            body["stats"] = json!({
                "tokens_per_second": rate(end.output_tokens, timing.decode),
                "time_to_first_token": timing.prefill.as_secs_f64(),
                "generation_time": timing.decode.as_secs_f64(),
                "stop_reason": if end.finish == Finish::Length { "maxPredictedTokensReached" } else { "eosFound" },
            });
        }
        Kind::Openai => body["service_tier"] = json!("default"),
        _ => {}
    }
}

fn timings(head: &Head, end: &End) -> Value {
    let ((cached, prompt), output, timing) = (head.split(), end.output_tokens, &end.timing);
    json!({
        "cache_n": cached,
        "prompt_n": prompt, "prompt_ms": millis(timing.prefill),
        "prompt_per_token_ms": millis(timing.prefill) / f64::from(prompt.max(1)),
        "prompt_per_second": rate(prompt, timing.prefill),
        "predicted_n": output, "predicted_ms": millis(timing.decode),
        "predicted_per_token_ms": millis(timing.decode) / f64::from(output.max(1)),
        "predicted_per_second": rate(output, timing.decode),
    })
}

fn fingerprint(head: &Head, body: &mut Value) {
    body["system_fingerprint"] = match head.kind {
        Kind::Ollama => json!("fp_ollama"),
        Kind::Llamacpp => json!("b11434-simulated"),
        Kind::LmStudio => json!(head.model),
        Kind::Openai => json!("fp_simulated"),
        _ => return,
    };
}

fn call_id(head: &Head) -> String {
    match head.kind {
        Kind::Vllm => head.id("chatcmpl-tool-", 16),
        Kind::Llamacpp => head.id("", 32),
        Kind::Ollama => head.id("call_", 8),
        _ => head.id("call_", 24),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn rate(tokens: u32, time: Duration) -> f64 {
    f64::from(tokens) / time.as_secs_f64().max(1e-6)
}
