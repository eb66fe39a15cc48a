//! The words of the design for the numbers of the proto: kinds, dialects, health.

use proto::v1;

use crate::args::{Class, Dialect, Kind, Policy};

impl Kind {
    /// The proto's value; `Auto` is "found by probing".
    pub fn proto(self) -> v1::Kind {
        match self {
            Kind::Auto => v1::Kind::Unspecified,
            Kind::Ollama => v1::Kind::Ollama,
            Kind::Lmstudio => v1::Kind::LmStudio,
            Kind::Llamacpp => v1::Kind::Llamacpp,
            Kind::Vllm => v1::Kind::Vllm,
            Kind::Sglang => v1::Kind::Sglang,
            Kind::Openai => v1::Kind::Openai,
            Kind::Anthropic => v1::Kind::Anthropic,
            Kind::Gemini => v1::Kind::Gemini,
        }
    }
}

impl Dialect {
    /// The proto's value; `Auto` is "as found".
    pub fn proto(self) -> v1::Dialect {
        match self {
            Dialect::Auto => v1::Dialect::Unspecified,
            Dialect::OpenaiChat => v1::Dialect::OpenaiChat,
            Dialect::OpenaiResponses => v1::Dialect::OpenaiResponses,
            Dialect::OpenaiCompletions => v1::Dialect::OpenaiCompletions,
            Dialect::OpenaiEmbeddings => v1::Dialect::OpenaiEmbeddings,
            Dialect::Anthropic => v1::Dialect::AnthropicMessages,
            Dialect::Gemini => v1::Dialect::GeminiContent,
            Dialect::Ollama => v1::Dialect::OllamaNative,
        }
    }
}

impl Policy {
    /// The proto's value.
    pub fn proto(self) -> v1::Policy {
        match self {
            Policy::CacheAffine => v1::Policy::CacheAffine,
            Policy::Priority => v1::Policy::Priority,
            Policy::RoundRobin => v1::Policy::RoundRobin,
            Policy::Weighted => v1::Policy::Weighted,
            Policy::LeastBusy => v1::Policy::LeastBusy,
            Policy::LowestLatency => v1::Policy::LowestLatency,
            Policy::TokenAware => v1::Policy::TokenAware,
            Policy::LongWaits => v1::Policy::LongWaits,
        }
    }
}

impl Class {
    /// The proto's value.
    pub fn proto(self) -> v1::Class {
        match self {
            Class::Interactive => v1::Class::Interactive,
            Class::Normal => v1::Class::Normal,
            Class::Batch => v1::Class::Batch,
        }
    }
}

/// The word for a policy, as `--policy` takes it.
pub fn policy(value: v1::Policy) -> &'static str {
    match value {
        v1::Policy::Unspecified => "default",
        v1::Policy::CacheAffine => "cache-affine",
        v1::Policy::Priority => "priority",
        v1::Policy::RoundRobin => "round-robin",
        v1::Policy::Weighted => "weighted",
        v1::Policy::LeastBusy => "least-busy",
        v1::Policy::LowestLatency => "lowest-latency",
        v1::Policy::TokenAware => "token-aware",
        v1::Policy::LongWaits => "long-waits",
    }
}

/// The word for a class, as `--class` takes it.
pub fn class(value: v1::Class) -> &'static str {
    match value {
        v1::Class::Unspecified => "default",
        v1::Class::Interactive => "interactive",
        v1::Class::Normal => "normal",
        v1::Class::Batch => "batch",
    }
}

/// The word for a kind, as `--kind` takes it; "-" when it is not known.
pub fn kind(value: v1::Kind) -> &'static str {
    match value {
        v1::Kind::Unspecified => "-",
        v1::Kind::Ollama => "ollama",
        v1::Kind::LmStudio => "lmstudio",
        v1::Kind::Llamacpp => "llamacpp",
        v1::Kind::Vllm => "vllm",
        v1::Kind::Sglang => "sglang",
        v1::Kind::Openai => "openai",
        v1::Kind::Anthropic => "anthropic",
        v1::Kind::Gemini => "gemini",
    }
}

/// The word for a dialect, as `--dialect` takes it.
pub fn dialect(value: v1::Dialect) -> &'static str {
    match value {
        v1::Dialect::Unspecified => "-",
        v1::Dialect::OpenaiChat => "openai-chat",
        v1::Dialect::OpenaiResponses => "openai-responses",
        v1::Dialect::OpenaiCompletions => "openai-completions",
        v1::Dialect::OpenaiEmbeddings => "openai-embeddings",
        v1::Dialect::AnthropicMessages => "anthropic",
        v1::Dialect::GeminiContent => "gemini",
        v1::Dialect::OllamaNative => "ollama",
    }
}

/// One word for the state of a backend; draining outweighs health.
pub fn state(backend: &v1::Backend) -> &'static str {
    if backend.draining {
        return "draining";
    }
    match backend.status.as_ref().map_or(v1::Health::Unspecified, v1::BackendStatus::health) {
        v1::Health::Unspecified => "unprobed",
        v1::Health::Healthy => "healthy",
        v1::Health::Unhealthy => "unhealthy",
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn what_is_printed_can_be_typed() {
        for value in Kind::value_variants().iter().filter(|value| **value != Kind::Auto) {
            let typed = value.to_possible_value().unwrap();
            assert_eq!(typed.get_name(), kind(value.proto()));
        }
        for value in Dialect::value_variants().iter().filter(|value| **value != Dialect::Auto) {
            let typed = value.to_possible_value().unwrap();
            assert_eq!(typed.get_name(), dialect(value.proto()));
        }
        for value in Policy::value_variants() {
            assert_eq!(value.to_possible_value().unwrap().get_name(), policy(value.proto()));
        }
        for value in Class::value_variants() {
            assert_eq!(value.to_possible_value().unwrap().get_name(), class(value.proto()));
        }
    }
}
