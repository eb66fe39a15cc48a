//! Proto messages as JSON and YAML, by the proto's own JSON mapping.

mod place;

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};

pub use place::FieldFault;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(crate::DESCRIPTOR).expect("the build wrote a valid descriptor"));

/// Why a text is not a message.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// Not JSON; says line and column.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Not one YAML document; says line and column.
    #[error("not YAML: {0}")]
    Yaml(String),
    /// Fields that the message does not have, or values of the wrong type: all of them, a line each.
    #[error("{}", lines(.0))]
    Fields(Vec<FieldFault>),
}

fn lines(faults: &[FieldFault]) -> String {
    let all: Vec<String> = faults.iter().map(FieldFault::to_string).collect();
    all.join("\n")
}

fn descriptor(name: &str) -> MessageDescriptor {
    let full = format!("llmbalancer.v1.{name}");
    POOL.get_message_by_name(&full).expect("callers name a message of llmbalancer.v1")
}

/// Reads a value strictly: no unknown fields.
fn dynamic(
    descriptor: &MessageDescriptor,
    value: &serde_json::Value,
) -> Result<DynamicMessage, serde_json::Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(descriptor.clone(), value, &options)
}

/// Reads message `name` of `llmbalancer.v1` from a value. Unknown fields are refused by name.
///
/// # Errors
/// [`FormError::Fields`] with the place and the field.
pub fn from_value<T: Message + Default>(name: &str, value: serde_json::Value) -> Result<T, FormError> {
    let descriptor = descriptor(name);
    let value = place::spelled(&descriptor, value);
    let read = dynamic(&descriptor, &value);
    let read = read.map_err(|error| FormError::Fields(place::faults(&descriptor, &value, &error)))?;
    Ok(T::decode(read.encode_to_vec().as_slice()).expect("a dynamic message encodes to its own type"))
}

/// Reads message `name` of `llmbalancer.v1` from JSON. Unknown fields are refused by name.
///
/// # Errors
/// [`FormError`] with the place and the field.
pub fn from_json<T: Message + Default>(name: &str, text: &str) -> Result<T, FormError> {
    from_value(name, value_of_json(text)?)
}

/// Reads message `name` of `llmbalancer.v1` from one YAML document. Unknown fields are refused by name.
///
/// # Errors
/// [`FormError`] with the place and the field.
pub fn from_yaml<T: Message + Default>(name: &str, text: &str) -> Result<T, FormError> {
    from_value(name, value_of_yaml(text)?)
}

/// JSON as a value.
///
/// # Errors
/// [`FormError::Json`].
pub fn value_of_json(text: &str) -> Result<serde_json::Value, FormError> {
    Ok(serde_json::from_str(text)?)
}

/// One YAML document as a value.
///
/// # Errors
/// [`FormError::Yaml`].
pub fn value_of_yaml(text: &str) -> Result<serde_json::Value, FormError> {
    // Only true and false: a model may be called "on" or "no".
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| FormError::Yaml(error.to_string()))
}

/// The JSON form of a message, as a value. Unset fields are left out.
#[must_use]
pub fn to_json_value<T: Message>(name: &str, message: &T) -> serde_json::Value {
    let dynamic = DynamicMessage::decode(descriptor(name), message.encode_to_vec().as_slice())
        .expect("a message decodes as its own descriptor");
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("a message has a JSON form")
}

/// The JSON form of a message, indented.
#[must_use]
pub fn to_json<T: Message>(name: &str, message: &T) -> String {
    serde_json::to_string_pretty(&to_json_value(name, message)).expect("a JSON value prints")
}

/// The YAML form of a message.
#[must_use]
pub fn to_yaml<T: Message>(name: &str, message: &T) -> String {
    serde_saphyr::to_string(&to_json_value(name, message)).expect("a JSON value prints as YAML")
}

#[cfg(test)]
mod tests;
