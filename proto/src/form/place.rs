//! Where in a text a value does not fit its message.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::dynamic;

/// Faults that are told at most.
const FAULTS_MAX: usize = 100;
/// Characters of a wrong enum value that are repeated at most.
const SHOWN_CHARS_MAX: usize = 64;
/// A message that a text stands for.
const DURATION: &str = "google.protobuf.Duration";

/// A field that does not fit. Values are not repeated, save names of an enum: they could be secrets.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FieldFault {
    /// Such as `backends[1].urll`; the document itself: `document`.
    pub path: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

/// All places where `value` does not fit; at least one: `error` is what reading it said.
pub(super) fn faults(
    descriptor: &MessageDescriptor,
    value: &Value,
    error: &serde_json::Error,
) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    message(descriptor, value, "", &mut faults);
    if faults.is_empty() {
        add(&mut faults, "", error.to_string());
    }
    faults
}

fn add(faults: &mut Vec<FieldFault>, path: &str, problem: String) {
    if faults.len() < FAULTS_MAX {
        let path = if path.is_empty() { "document" } else { path };
        faults.push(FieldFault { path: path.to_owned(), problem });
    }
}

fn message(descriptor: &MessageDescriptor, value: &Value, path: &str, faults: &mut Vec<FieldFault>) {
    let Value::Object(fields) = value else {
        let problem = match value {
            Value::Null => format!("it is empty; fields are needed: {}", known(descriptor)),
            value => format!("fields are needed, not {}: {}", word(value), known(descriptor)),
        };
        return add(faults, path, problem);
    };
    let before = faults.len();
    for (key, value) in fields {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let named = |field: &FieldDescriptor| field.name() == key || field.json_name() == key;
        match descriptor.fields().find(named) {
            Some(field) => self::field(descriptor, &field, value, &path, faults),
            None => add(faults, &path, format!("no such field; there are {}", known(descriptor))),
        }
    }
    for group in descriptor.oneofs() {
        let given = |field: &FieldDescriptor| {
            let value = fields.get(field.name()).or(fields.get(field.json_name()));
            value.is_some_and(|value| !value.is_null())
        };
        let both: Vec<String> = group.fields().filter(given).map(|field| field.name().to_owned()).collect();
        if both.len() > 1 {
            add(faults, path, format!("only one of {} may be set", both.join(" and ")));
        }
    }
    // What no field shows alone, such as a field given twice.
    if faults.len() == before
        && let Err(error) = dynamic(descriptor, value)
    {
        add(faults, path, error.to_string());
    }
}

fn field(
    owner: &MessageDescriptor,
    field: &FieldDescriptor,
    value: &Value,
    path: &str,
    faults: &mut Vec<FieldFault>,
) {
    match (value, field.kind()) {
        (Value::Null, _) => {}
        (Value::Array(list), _) if field.is_list() => {
            for (at, value) in list.iter().enumerate() {
                let path = format!("{path}[{at}]");
                match field.kind() {
                    Kind::Message(inner) => message(&inner, value, &path, faults),
                    _ => leaf(owner, field, Value::Array(vec![value.clone()]), value, &path, faults),
                }
            }
        }
        (_, _) if field.is_list() => add(faults, path, format!("a list is needed, not {}", word(value))),
        (_, Kind::Message(inner)) if inner.full_name() != DURATION => message(&inner, value, path, faults),
        (_, _) => leaf(owner, field, value.clone(), value, path, faults),
    }
}

fn leaf(
    owner: &MessageDescriptor,
    field: &FieldDescriptor,
    alone: Value,
    shown: &Value,
    path: &str,
    faults: &mut Vec<FieldFault>,
) {
    let message = Value::Object(Map::from_iter([(field.name().to_owned(), alone)]));
    if dynamic(owner, &message).is_err() {
        add(faults, path, format!("{} is not allowed: {}", said(field, shown), wanted(field)));
    }
}

fn said(field: &FieldDescriptor, value: &Value) -> String {
    match (field.kind(), value) {
        (Kind::Enum(_), Value::String(name)) => {
            format!("{:?}", name.chars().take(SHOWN_CHARS_MAX).collect::<String>())
        }
        (Kind::Enum(_), Value::Number(number)) => number.to_string(),
        // No number is a secret, and what stands where one is wanted is hardly ever one.
        (kind, Value::Number(number)) if is_number(&kind) => number.to_string(),
        (kind, Value::String(text)) if is_number(&kind) || is_time(&kind) => {
            format!("{:?}", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
        }
        (kind, Value::Number(number)) if is_time(&kind) => number.to_string(),
        (_, value) => word(value).to_owned(),
    }
}

fn is_number(kind: &Kind) -> bool {
    !matches!(kind, Kind::Enum(_) | Kind::Message(_) | Kind::String | Kind::Bytes | Kind::Bool)
}

fn is_time(kind: &Kind) -> bool {
    matches!(kind, Kind::Message(inner) if inner.full_name() == DURATION)
}

/// Bounds that are narrower than the type, as the proto's comments state them.
fn bounds(field: &FieldDescriptor) -> Option<&'static str> {
    match field.name() {
        "priority" | "precedence" => Some("a whole number from -1000 to 1000"),
        "max_concurrency" => Some("a whole number from 0 to 4096"),
        _ => None,
    }
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a group of fields",
    }
}

fn wanted(field: &FieldDescriptor) -> String {
    if let Some(bounds) = bounds(field) {
        return bounds.to_owned();
    }
    match field.kind() {
        Kind::Enum(names) => {
            let all: Vec<String> = names.values().map(|value| value.name().to_owned()).collect();
            format!("one of {}", all.join(", "))
        }
        Kind::Bool => "true or false".to_owned(),
        Kind::String => "a text".to_owned(),
        Kind::Bytes => "bytes in base64".to_owned(),
        Kind::Double | Kind::Float => "a number".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "a whole number from 0 to 4294967295".to_owned(),
        Kind::Uint64 | Kind::Fixed64 => "a whole number from 0".to_owned(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            "a whole number from -2147483648 to 2147483647".to_owned()
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number".to_owned(),
        Kind::Message(inner) if inner.full_name() == DURATION => {
            "seconds as a text, such as \"1.5s\"".to_owned()
        }
        Kind::Message(inner) => format!("fields: {}", known(&inner)),
    }
}

/// The value with the names of enums as the proto spells them: in a file `llamacpp` is `LLAMACPP`, `openai-chat` is
/// `OPENAI_CHAT`.
pub(super) fn spelled(descriptor: &MessageDescriptor, value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let one = |(key, value): (String, Value)| {
        let named = |field: &FieldDescriptor| field.name() == key || field.json_name() == key;
        match descriptor.fields().find(named) {
            Some(field) => (key, field_spelled(&field, value)),
            None => (key, value),
        }
    };
    Value::Object(fields.into_iter().map(one).collect())
}

fn field_spelled(field: &FieldDescriptor, value: Value) -> Value {
    match (field.kind(), value) {
        (_, Value::Array(list)) => {
            Value::Array(list.into_iter().map(|value| field_spelled(field, value)).collect())
        }
        (Kind::Message(inner), value) => spelled(&inner, value),
        (Kind::Enum(names), Value::String(text)) => {
            let wanted = text.replace('-', "_").to_ascii_uppercase();
            Value::String(if names.get_value_by_name(&wanted).is_some() { wanted } else { text })
        }
        (_, value) => value,
    }
}

fn known(descriptor: &MessageDescriptor) -> String {
    let all: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    all.join(", ")
}
