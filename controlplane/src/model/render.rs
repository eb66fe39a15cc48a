//! Model to proto.

use proto::v1;
use wire::Dialect;

use super::{
    Backend, Class, Deadlines, Health, Kind, Matcher, Model, Observed, Policy, Record, Route, Scheduling,
};

/// A kind; `None`: unspecified.
#[must_use]
pub fn kind(kind: Option<Kind>) -> v1::Kind {
    match kind {
        None => v1::Kind::Unspecified,
        Some(Kind::Ollama) => v1::Kind::Ollama,
        Some(Kind::LmStudio) => v1::Kind::LmStudio,
        Some(Kind::Llamacpp) => v1::Kind::Llamacpp,
        Some(Kind::Vllm) => v1::Kind::Vllm,
        Some(Kind::Sglang) => v1::Kind::Sglang,
        Some(Kind::Openai) => v1::Kind::Openai,
        Some(Kind::Anthropic) => v1::Kind::Anthropic,
        Some(Kind::Gemini) => v1::Kind::Gemini,
    }
}

/// Dialects by number.
#[must_use]
pub fn dialects(dialects: &[Dialect]) -> Vec<i32> {
    dialects.iter().map(|one| dialect(*one) as i32).collect()
}

fn dialect(dialect: Dialect) -> v1::Dialect {
    match dialect {
        Dialect::OpenaiChat => v1::Dialect::OpenaiChat,
        Dialect::OpenaiResponses => v1::Dialect::OpenaiResponses,
        Dialect::OpenaiCompletions => v1::Dialect::OpenaiCompletions,
        Dialect::OpenaiEmbeddings => v1::Dialect::OpenaiEmbeddings,
        Dialect::Anthropic => v1::Dialect::AnthropicMessages,
        Dialect::Gemini => v1::Dialect::GeminiContent,
        Dialect::Ollama => v1::Dialect::OllamaNative,
    }
}

/// Health.
#[must_use]
pub fn health(health: Health) -> v1::Health {
    match health {
        Health::Unknown => v1::Health::Unspecified,
        Health::Healthy => v1::Health::Healthy,
        Health::Unhealthy => v1::Health::Unhealthy,
    }
}

/// Models.
#[must_use]
pub fn models(models: &[Model]) -> Vec<v1::Model> {
    let one = |model: &Model| v1::Model {
        name: model.name.clone(),
        resident: model.resident,
        context_length: model.context_length,
        capabilities: model.capabilities.clone(),
    };
    models.iter().map(one).collect()
}

/// A backend with what has been observed of it; `slots` is what it has and whether that is assumed.
#[must_use]
pub fn backend(record: &Record<Backend>, observed: &Observed, slots: (u32, bool)) -> v1::Backend {
    let backend = &record.value;
    v1::Backend {
        name: backend.name.to_string(),
        url: backend.url.to_string(),
        kind: kind(backend.kind) as i32,
        max_concurrency: backend.max_concurrency,
        priority: backend.priority,
        max_input_tokens: backend.max_input_tokens,
        max_loaded_models: backend.max_loaded_models,
        credential: backend.credential.as_ref().map(ToString::to_string).unwrap_or_default(),
        ca_file: backend.ca_file.clone().unwrap_or_default(),
        draining: backend.draining,
        dialects: dialects(&backend.dialects),
        revision: record.revision,
        status: Some(status(observed, slots)),
    }
}

/// What has been observed; `slots` as in [`backend`].
#[must_use]
pub fn status(observed: &Observed, slots: (u32, bool)) -> v1::BackendStatus {
    v1::BackendStatus {
        health: health(observed.health) as i32,
        reason: observed.reason.clone(),
        kind: kind(observed.kind) as i32,
        dialects: dialects(&observed.dialects),
        models: models(&observed.models),
        slots: slots.0,
        slots_assumed: slots.1,
        version: observed.version.clone(),
        probed_at_ms: observed.probed_at_ms,
        probe_rtt_us: observed.probe_rtt_us,
    }
}

/// None where nothing is set.
fn deadlines(set: &Deadlines) -> Option<v1::Deadlines> {
    let rendered = v1::Deadlines {
        connect: set.connect_ms.map(proto::span),
        first_token: set.first_token_ms.map(proto::span),
        between_tokens: set.between_tokens_ms.map(proto::span),
        total: set.total_ms.map(proto::span),
    };
    (rendered != v1::Deadlines::default()).then_some(rendered)
}

fn policy(policy: Option<Policy>) -> v1::Policy {
    match policy {
        None => v1::Policy::Unspecified,
        Some(Policy::CacheAffine) => v1::Policy::CacheAffine,
        Some(Policy::Priority) => v1::Policy::Priority,
        Some(Policy::RoundRobin) => v1::Policy::RoundRobin,
        Some(Policy::Weighted) => v1::Policy::Weighted,
        Some(Policy::LeastBusy) => v1::Policy::LeastBusy,
        Some(Policy::LowestLatency) => v1::Policy::LowestLatency,
        Some(Policy::TokenAware) => v1::Policy::TokenAware,
        Some(Policy::LongWaits) => v1::Policy::LongWaits,
    }
}

fn class(class: Option<Class>) -> v1::Class {
    match class {
        None => v1::Class::Unspecified,
        Some(Class::Interactive) => v1::Class::Interactive,
        Some(Class::Normal) => v1::Class::Normal,
        Some(Class::Batch) => v1::Class::Batch,
    }
}

/// The figures by which requests are placed.
#[must_use]
pub fn scheduling(record: &Record<Scheduling>) -> v1::Scheduling {
    let set = &record.value;
    v1::Scheduling {
        age_max: set.age_max_ms.map(proto::span),
        fair: set.fair,
        fair_quantum: set.fair_quantum_ms.map(proto::span),
        collate_percent: set.collate_percent,
        wait_margin_percent: set.wait_margin_percent,
        wait_budget_percent: set.wait_budget_percent,
        wait_max: set.wait_max_ms.map(proto::span),
        priority_step: set.priority_step_ms.map(proto::span),
        hold_percent: set.hold_percent,
        hold_max: set.hold_max_ms.map(proto::span),
        hold_tenure: set.hold_tenure_ms.map(proto::span),
        eviction_percent: set.eviction_percent,
        return_horizon: set.return_horizon_ms.map(proto::span),
        interference_percent: set.interference_percent,
        revision: record.revision,
    }
}

/// A route.
#[must_use]
pub fn route(record: &Record<Route>) -> v1::Route {
    let route = &record.value;
    v1::Route {
        name: route.name.to_string(),
        r#match: Some(match &route.matcher {
            Matcher::Exact(exact) => v1::route::Match::Exact(exact.clone()),
            Matcher::Pattern(pattern) => v1::route::Match::Pattern(pattern.clone()),
        }),
        precedence: route.precedence,
        targets: route
            .targets
            .iter()
            .map(|target| v1::Target {
                model: target.model.clone(),
                backend: target.backend.as_ref().map(ToString::to_string).unwrap_or_default(),
                weight: target.weight,
            })
            .collect(),
        deadlines: deadlines(&route.deadlines),
        policy: policy(route.policy) as i32,
        class: class(route.class) as i32,
        revision: record.revision,
    }
}
