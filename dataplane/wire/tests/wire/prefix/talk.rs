//! One conversation, written in every dialect and in several hands.

use serde_json::{Map, Value, json};
use wire::Operation;

/// What is said, whatever the API.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    pub system: Vec<String>,
    pub tools: Vec<Tool>,
    pub turns: Vec<Turn>,
}

#[derive(Clone, Debug)]
pub struct Tool {
    pub name: String,
    pub description: String,
    pub schema: Value,
}

#[derive(Clone, Debug)]
pub enum Turn {
    User {
        text: String,
        pictures: Vec<String>,
    },
    Assistant {
        thought: String,
        text: String,
        calls: Vec<(String, Value)>,
    },
    /// One for each call before it.
    Results(Vec<String>),
}

/// How a body is written; nothing of it is content.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hand {
    /// Members in the opposite order.
    pub reversed: bool,
    /// Escapes wherever they are allowed.
    pub escaped: bool,
    /// White space between all tokens.
    pub spaced: bool,
    /// Lists of parts where a string would do.
    pub listed: bool,
    /// Ids, marks of caches, metadata and reasoning, counted from here.
    pub marks: u64,
}

pub const DIALECTS: [Operation; 5] = [
    Operation::Chat,
    Operation::Responses,
    Operation::Messages,
    Operation::GenerateContent,
    Operation::OllamaChat,
];

impl Talk {
    pub fn body(&self, operation: Operation, hand: Hand) -> Vec<u8> {
        let mut body = match operation {
            Operation::Responses => self.responses(hand),
            Operation::Messages => self.anthropic(hand),
            Operation::GenerateContent => self.gemini(hand),
            _ => self.chat(hand, operation == Operation::OllamaChat),
        };
        if operation != Operation::GenerateContent {
            body["model"] = json!(format!("model-{}", hand.marks));
            body["stream"] = json!(hand.reversed);
        }
        body["metadata"] = json!({ "user_id": hand.marks });
        let mut text = String::new();
        write(&body, hand, hand.reversed, &mut text);
        text.into_bytes()
    }

    fn chat(&self, hand: Hand, ollama: bool) -> Value {
        let system = if hand.marks.is_multiple_of(2) || ollama { "system" } else { "developer" };
        let mut messages: Vec<Value> =
            self.system.iter().map(|text| json!({ "role": system, "content": text })).collect();
        let mut ids = hand.marks;
        for turn in &self.turns {
            match turn {
                Turn::User { text, pictures } if ollama => {
                    messages.push(json!({ "role": "user", "content": text, "images": pictures }));
                }
                Turn::User { text, pictures } => {
                    messages.push(json!({ "role": "user", "content": chat_content(text, pictures, hand) }));
                }
                Turn::Assistant { thought, text, calls } => {
                    let thinking = if ollama { "thinking" } else { "reasoning_content" };
                    let mut message = json!({ "role": "assistant", "content": text, thinking: thought });
                    if !calls.is_empty() {
                        message["tool_calls"] = calls
                            .iter()
                            .enumerate()
                            .map(|(at, call)| chat_call(call, ids + at as u64, ollama))
                            .collect();
                    }
                    messages.push(message);
                }
                Turn::Results(results) => {
                    for result in results {
                        messages.push(json!({ "role": "tool", "tool_call_id": format!("call_{ids}"), "content": result }));
                        ids += 1;
                    }
                }
            }
        }
        let tool = |tool: &Tool| json!({ "type": "function", "function": { "name": tool.name, "description": tool.description, "parameters": tool.schema } });
        json!({ "messages": messages, "tools": self.tools.iter().map(tool).collect::<Vec<_>>() })
    }

    fn responses(&self, hand: Hand) -> Value {
        let mut items = Vec::new();
        let mut ids = hand.marks;
        for turn in &self.turns {
            match turn {
                Turn::User { text, pictures } => {
                    let mut content = vec![json!({ "type": "input_text", "text": text })];
                    content.extend(pictures.iter().map(|data| json!({ "type": "input_image", "image_url": format!("data:image/png;base64,{data}") })));
                    items.push(json!({ "type": "message", "role": "user", "content": content }));
                }
                Turn::Assistant { thought, text, calls } => {
                    items.push(json!({ "type": "reasoning", "id": format!("rs_{ids}"), "summary": [{ "type": "summary_text", "text": thought }] }));
                    items.push(json!({ "type": "message", "role": "assistant", "id": format!("msg_{ids}"), "content": [{ "type": "output_text", "text": text, "annotations": [] }] }));
                    for (at, (name, arguments)) in calls.iter().enumerate() {
                        items.push(json!({ "type": "function_call", "call_id": format!("call_{}", ids + at as u64), "name": name, "arguments": arguments.to_string(), "status": "completed" }));
                    }
                }
                Turn::Results(results) => {
                    for result in results {
                        items.push(json!({ "type": "function_call_output", "call_id": format!("call_{ids}"), "output": result }));
                        ids += 1;
                    }
                }
            }
        }
        let tool = |tool: &Tool| json!({ "type": "function", "name": tool.name, "description": tool.description, "parameters": tool.schema, "strict": false });
        let system: Vec<Value> =
            self.system.iter().map(|text| json!({ "type": "input_text", "text": text })).collect();
        let mut body = json!({ "tools": self.tools.iter().map(tool).collect::<Vec<_>>() });
        match (self.system.as_slice(), hand.listed) {
            ([one], false) => body["instructions"] = json!(one),
            _ => items.insert(0, json!({ "role": "developer", "content": system })),
        }
        body["input"] = json!(items);
        body
    }

    fn anthropic(&self, hand: Hand) -> Value {
        let mut messages: Vec<(&str, Vec<Value>)> = Vec::new();
        // This API wants roles to alternate: results and what the user says stand in one message.
        let mut say = |role: &'static str, part: Value| match messages.last_mut() {
            Some((last, parts)) if *last == role => parts.push(part),
            _ => messages.push((role, vec![part])),
        };
        let mut ids = hand.marks;
        for turn in &self.turns {
            match turn {
                Turn::User { text, pictures } => {
                    let text = json!({ "type": "text", "text": text });
                    say("user", marked(text, hand));
                    for data in pictures {
                        say(
                            "user",
                            json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": data } }),
                        );
                    }
                }
                Turn::Assistant { thought, text, calls } => {
                    say(
                        "assistant",
                        json!({ "type": "thinking", "thinking": thought, "signature": format!("sig{}", hand.marks) }),
                    );
                    say("assistant", json!({ "type": "text", "text": text }));
                    for (at, (name, input)) in calls.iter().enumerate() {
                        say(
                            "assistant",
                            json!({ "type": "tool_use", "id": format!("toolu_{}", ids + at as u64), "name": name, "input": input }),
                        );
                    }
                }
                Turn::Results(results) => {
                    for result in results {
                        let content = if hand.listed {
                            json!([{ "type": "text", "text": result }])
                        } else {
                            json!(result)
                        };
                        let part = json!({ "type": "tool_result", "tool_use_id": format!("toolu_{ids}"), "content": content });
                        say("user", marked(part, hand));
                        ids += 1;
                    }
                }
            }
        }
        let messages: Vec<Value> =
            messages.into_iter().map(|(role, parts)| json!({ "role": role, "content": parts })).collect();
        let tool = |tool: &Tool| {
            marked(
                json!({ "name": tool.name, "description": tool.description, "input_schema": tool.schema }),
                hand,
            )
        };
        let billing = format!("x-anthropic-billing-header: cc_version=2.1; cch={};", hand.marks);
        let mut system = vec![json!({ "type": "text", "text": billing })];
        system.extend(self.system.iter().map(|text| marked(json!({ "type": "text", "text": text }), hand)));
        json!({ "system": system, "messages": messages, "max_tokens": 100, "tools": self.tools.iter().map(tool).collect::<Vec<_>>() })
    }

    fn gemini(&self, hand: Hand) -> Value {
        let mut contents = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let inline = if hand.listed { ("inlineData", "mimeType") } else { ("inline_data", "mime_type") };
        for turn in &self.turns {
            match turn {
                Turn::User { text, pictures } => {
                    let mut parts = vec![json!({ "text": text })];
                    // One of its SDKs writes base64 in the alphabet of URLs.
                    let url = |data: &String| data.replace('+', "-").replace('/', "_");
                    parts.extend(
                        pictures
                            .iter()
                            .map(|data| json!({ inline.0: { inline.1: "image/png", "data": url(data) } })),
                    );
                    contents.push(json!({ "role": "user", "parts": parts }));
                }
                Turn::Assistant { thought, text, calls } => {
                    let mut parts =
                        vec![json!({ "text": thought, "thought": true }), json!({ "text": text })];
                    parts.extend(calls.iter().map(|(name, arguments)| json!({ "functionCall": { "name": name, "args": arguments }, "thoughtSignature": format!("sig{}", hand.marks) })));
                    names = calls.iter().map(|(name, _)| name.as_str()).collect();
                    contents.push(json!({ "role": "model", "parts": parts }));
                }
                Turn::Results(results) => {
                    let part = |(result, name): (&String, &&str)| json!({ "functionResponse": { "name": name, "response": { "output": result } } });
                    let parts: Vec<Value> = results.iter().zip(&names).map(part).collect();
                    contents.push(
                        json!({ "role": if hand.listed { "user" } else { "function" }, "parts": parts }),
                    );
                }
            }
        }
        let capitals = hand.listed;
        let tool = |tool: &Tool| {
            if capitals {
                json!({ "name": tool.name, "description": tool.description, "parameters": capital(&tool.schema) })
            } else {
                json!({ "name": tool.name, "description": tool.description, "parametersJsonSchema": tool.schema })
            }
        };
        let parts: Vec<Value> = self.system.iter().map(|text| json!({ "text": text })).collect();
        let declared: Vec<Value> = self.tools.iter().map(tool).collect();
        let mut body =
            json!({ "contents": contents, "systemInstruction": { "role": "user", "parts": parts } });
        if !declared.is_empty() {
            body["tools"] = json!([{ "functionDeclarations": declared }]);
        }
        body
    }
}

fn chat_content(text: &str, pictures: &[String], hand: Hand) -> Value {
    if pictures.is_empty() && !hand.listed {
        return json!(text);
    }
    let mut parts = vec![marked(json!({ "type": "text", "text": text }), hand)];
    parts.extend(pictures.iter().map(|data| json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{data}"), "detail": "auto" } })));
    Value::Array(parts)
}

fn chat_call((name, arguments): &(String, Value), id: u64, ollama: bool) -> Value {
    let arguments = if ollama { arguments.clone() } else { json!(arguments.to_string()) };
    json!({ "id": format!("call_{id}"), "type": "function", "function": { "name": name, "arguments": arguments } })
}

fn marked(mut part: Value, hand: Hand) -> Value {
    if hand.marks.is_multiple_of(3) {
        part["cache_control"] = json!({ "type": "ephemeral" });
    }
    part
}

/// Names of types as Gemini's own schemas have them.
fn capital(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let one = |(key, value): (&String, &Value)| match value {
                Value::String(name) if key == "type" => (key.clone(), json!(name.to_uppercase())),
                _ => (key.clone(), capital(value)),
            };
            Value::Object(members.iter().map(one).collect())
        }
        Value::Array(values) => values.iter().map(capital).collect(),
        other => other.clone(),
    }
}

/// Members whose own members are content, in the order in which they stand.
const CONTENT: [&str; 6] =
    ["arguments", "args", "parameters", "parametersJsonSchema", "input_schema", "input"];

fn write(value: &Value, hand: Hand, reversed: bool, out: &mut String) {
    let space = if hand.spaced { "\n\t " } else { "" };
    match value {
        Value::Object(members) => {
            out.push('{');
            out.push_str(space);
            for (at, (key, value)) in order(members, reversed).into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(space);
                string(key, hand, out);
                out.push(':');
                out.push_str(space);
                let content = CONTENT.contains(&key.as_str()) && value.is_object();
                write(value, hand, reversed && !content, out);
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(space);
                write(value, hand, reversed, out);
            }
            out.push_str(space);
            out.push(']');
        }
        Value::String(text) => string(text, hand, out),
        other => out.push_str(&other.to_string()),
    }
}

fn order(members: &Map<String, Value>, reversed: bool) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = members.iter().collect();
    if reversed {
        all.reverse();
    }
    all
}

fn string(text: &str, hand: Hand, out: &mut String) {
    let plain = json!(text).to_string();
    if !hand.escaped {
        return out.push_str(&plain);
    }
    for one in plain.chars() {
        match one {
            '/' => out.push_str("\\/"),
            's' | '\u{80}'.. => {
                let mut units = [0; 2];
                for unit in one.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
            _ => out.push(one),
        }
    }
}
