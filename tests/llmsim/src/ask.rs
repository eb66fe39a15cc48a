//! What a request asks for, read from any dialect.

use serde_json::Value;

use crate::dialect::Dialect;

/// The dialect-free part of a request for generated text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ask {
    pub model: String,
    pub stream: bool,
    /// Every text of the prompt, in order.
    pub prompt: String,
    /// The most tokens the answer may have.
    pub max: Option<u32>,
    /// Call this tool instead of writing text.
    pub tool: Option<Tool>,
    /// Chat and completions: send usage in the stream.
    pub include_usage: bool,
    /// Ollama: no prompt at all, which loads the model, or unloads it.
    pub load_only: bool,
    /// Ollama: `keep_alive` 0.
    pub unload: bool,
}

/// The first tool of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    pub name: String,
    /// JSON text that is valid for the tool's schema.
    pub arguments: String,
}

/// Reads a request; `model` is the one in the path, for dialects that have it there. The error is the
/// name of a member that is missing.
pub(crate) fn read(dialect: Dialect, model: Option<&str>, body: &Value) -> Result<Ask, &'static str> {
    let mut ask = Ask { model: model.unwrap_or_default().to_owned(), ..Ask::default() };
    if model.is_none() {
        ask.model = text(&body["model"]).to_owned();
    }
    ask.stream =
        body["stream"].as_bool().unwrap_or(matches!(dialect, Dialect::OllamaChat | Dialect::OllamaGenerate));
    ask.include_usage = body["stream_options"]["include_usage"].as_bool().unwrap_or(false);
    let turns = match dialect {
        Dialect::Chat => {
            ask.max = number(&body["max_completion_tokens"]).or(number(&body["max_tokens"]));
            required(body, "messages")?
        }
        Dialect::Completions => {
            ask.max = Some(number(&body["max_tokens"]).unwrap_or(16));
            gather(required_any(body, "prompt")?, &mut ask.prompt);
            &[]
        }
        Dialect::Responses => {
            ask.max = number(&body["max_output_tokens"]);
            gather(&body["instructions"], &mut ask.prompt);
            match required_any(body, "input")? {
                Value::Array(items) => items,
                plain => std::slice::from_ref(plain),
            }
        }
        Dialect::Messages => {
            ask.max = number(&body["max_tokens"]);
            gather(&body["system"], &mut ask.prompt);
            required(body, "messages")?
        }
        Dialect::Gemini => {
            let config = either(body, "generationConfig", "generation_config");
            ask.max = number(either(config, "maxOutputTokens", "max_output_tokens"));
            gather(either(body, "systemInstruction", "system_instruction"), &mut ask.prompt);
            required(body, "contents")?
        }
        Dialect::OllamaChat => {
            ask.max = number(&body["options"]["num_predict"]);
            body["messages"].as_array().map_or(&[][..], Vec::as_slice)
        }
        Dialect::OllamaGenerate => {
            ask.max = number(&body["options"]["num_predict"]);
            gather(&body["system"], &mut ask.prompt);
            gather(&body["prompt"], &mut ask.prompt);
            &[]
        }
    };
    for turn in turns {
        gather(turn, &mut ask.prompt);
    }
    if matches!(dialect, Dialect::OllamaChat | Dialect::OllamaGenerate) {
        ask.load_only = ask.prompt.is_empty();
        ask.unload = matches!(&body["keep_alive"], Value::Number(n) if n.as_f64() == Some(0.0));
    }
    if turns.last().is_some_and(wants_tool) && body["tool_choice"] != "none" {
        ask.tool = first_tool(&body["tools"]);
    }
    Ok(ask)
}

/// The texts of the inputs of an embeddings request, one each.
pub(crate) fn inputs(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) if items.first().is_some_and(Value::is_number) => vec![value.to_string()],
        Value::Array(items) => items.iter().map(one).collect(),
        Value::Null => Vec::new(),
        value => vec![one(value)],
    }
}

/// All text inside a value, wherever its dialect keeps it.
pub(crate) fn one(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(tokens) if tokens.first().is_some_and(Value::is_number) => out = value.to_string(),
        _ => gather(value, &mut out),
    }
    out
}

/// A member under either of its spellings.
pub(crate) fn either<'a>(value: &'a Value, first: &str, second: &str) -> &'a Value {
    match &value[first] {
        Value::Null => &value[second],
        found => found,
    }
}

fn gather(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Array(items) => items.iter().for_each(|item| gather(item, out)),
        Value::Object(members) => {
            for name in [
                "text",
                "thinking",
                "content",
                "parts",
                "arguments",
                "input",
                "output",
                "tool_calls",
                "function",
            ] {
                if let Some(member) = members.get(name) {
                    gather(member, out);
                }
            }
            for name in ["functionCall", "functionResponse", "function_call", "function_response"] {
                if let Some(member) = members.get(name) {
                    out.push_str(&member.to_string());
                }
            }
        }
        _ => {}
    }
}

/// A tool is called when the last turn is the user's and says "tool"; a tool's result is answered
/// with text.
fn wants_tool(turn: &Value) -> bool {
    let role = text(&turn["role"]);
    let kind = text(&turn["type"]);
    if role == "tool" || role == "function" || kind == "function_call_output" {
        return false;
    }
    let parts = either(turn, "content", "parts").as_array().map_or(&[][..], Vec::as_slice);
    let result = parts.iter().any(|part| {
        part["type"] == "tool_result" || !either(part, "functionResponse", "function_response").is_null()
    });
    !result && one(turn).contains("tool")
}

fn first_tool(tools: &Value) -> Option<Tool> {
    tools.as_array()?.iter().find_map(|tool| {
        let declared = either(tool, "functionDeclarations", "function_declarations");
        let function = match (&tool["function"], &declared[0]) {
            (Value::Null, Value::Null) => tool,
            (Value::Null, declared) => declared,
            (function, _) => function,
        };
        let schema = ["parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema"]
            .iter()
            .map(|name| &function[*name])
            .find(|schema| !schema.is_null())
            .unwrap_or(&Value::Null);
        let name = function["name"].as_str()?.to_owned();
        Some(Tool { name, arguments: valid(schema, 0).to_string() })
    })
}

/// The smallest value that a JSON schema asks for: its required members, nothing else.
fn valid(schema: &Value, depth: u32) -> Value {
    const DEPTH_MAX: u32 = 16;
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => text(kinds.first().unwrap_or(&Value::Null)),
        kind => text(kind),
    };
    match kind.to_ascii_lowercase().as_str() {
        "string" => Value::from("x"),
        "integer" | "number" => Value::from(1),
        "boolean" => Value::from(true),
        "array" => Value::Array(Vec::new()),
        "null" => Value::Null,
        _ => {
            let names = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
            let members = names.iter().filter_map(Value::as_str).filter(|_| depth < DEPTH_MAX);
            members.map(|name| (name.to_owned(), valid(&schema["properties"][name], depth + 1))).collect()
        }
    }
}

fn required<'a>(body: &'a Value, name: &'static str) -> Result<&'a [Value], &'static str> {
    match &body[name] {
        Value::Array(items) if !items.is_empty() => Ok(items),
        _ => Err(name),
    }
}

fn required_any<'a>(body: &'a Value, name: &'static str) -> Result<&'a Value, &'static str> {
    match &body[name] {
        Value::Null => Err(name),
        value => Ok(value),
    }
}

/// A maximum; negative numbers mean none.
fn number(value: &Value) -> Option<u32> {
    value.as_u64().map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
