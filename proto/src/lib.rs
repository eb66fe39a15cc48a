//! The wire contract of the product: generated types, the descriptor, and the JSON and YAML form of both.

mod delta;
mod form;
mod time;

pub use delta::{DeltaFault, apply};
pub use form::{
    FieldFault, FormError, from_json, from_value, from_yaml, to_json, to_json_value, to_yaml, value_of_json,
    value_of_yaml,
};
pub use prost_types::Duration;
pub use time::{TimeError, millis, span};

/// `llmbalancer.v1`, generated at build time.
pub mod v1 {
    #![allow(missing_docs, clippy::all, reason = "generated from the protos, which carry the documentation")]
    tonic::include_proto!("llmbalancer.v1");
}

/// The encoded `FileDescriptorSet` of every proto, for gRPC reflection and the JSON form.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/llmbalancer.bin"));
