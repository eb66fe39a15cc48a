//! Lists of models, each in a body that several kinds of clients read.

use serde_json::{Value, json};

/// A model as clients see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The name that clients ask for.
    pub id: String,
    /// Who serves it.
    pub owned_by: String,
    /// Since when it is known, in seconds since 1970.
    pub created_s: u64,
    /// Tokens that prompt and answer may have together, where known.
    pub context_length: Option<u32>,
    /// Whether it is loaded somewhere.
    pub resident: bool,
    /// What it can do, in Ollama's words: completion, tools, vision, embedding, thinking, insert.
    pub capabilities: Vec<String>,
}

/// Whose list is asked for; all but Codex's are one superset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ListStyle {
    /// OpenAI's.
    Openai,
    /// Anthropic's.
    Anthropic,
    /// Gemini's.
    Gemini,
    /// That of the Codex client, told by `?client_version=`.
    Codex,
}

/// The context length told to clients that insist on one.
const CONTEXT_ASSUMED: u32 = 8192;

/// The version told to clients that check for a recent Ollama.
const OLLAMA_VERSION: &str = r#"{"version":"0.12.6"}"#;

/// When a loaded model is said to be unloaded: clients want a date, and nothing here unloads.
const NEVER: &str = "2318-01-01T00:00:00Z";

/// The body of `GET /v1/models`.
pub fn models(listed: &[Listed], style: ListStyle) -> String {
    if style == ListStyle::Codex {
        return json!({ "models": listed.iter().map(codex).collect::<Vec<_>>() }).to_string();
    }
    let id = |model: Option<&Listed>| model.map(|model| model.id.clone());
    json!({
        "object": "list",
        "data": listed.iter().map(openai).collect::<Vec<_>>(),
        "has_more": false,
        "first_id": id(listed.first()),
        "last_id": id(listed.last()),
        "models": listed.iter().map(gemini).collect::<Vec<_>>(),
    })
    .to_string()
}

/// The body of `GET /v1/models/{id}`.
pub fn model(listed: &Listed, style: ListStyle) -> String {
    if style == ListStyle::Codex {
        return codex(listed).to_string();
    }
    let mut body = openai(listed);
    if let (Value::Object(body), Value::Object(more)) = (&mut body, gemini(listed)) {
        body.extend(more);
    }
    body.to_string()
}

/// The body of `GET /api/tags`.
pub fn tags(listed: &[Listed]) -> String {
    json!({ "models": listed.iter().map(ollama).collect::<Vec<_>>() }).to_string()
}

/// The body of `GET /api/ps`: what is loaded.
pub fn ps(listed: &[Listed]) -> String {
    let loaded = listed.iter().filter(|model| model.resident).map(|model| {
        let mut body = ollama(model);
        body["expires_at"] = json!(NEVER);
        body["size_vram"] = json!(0);
        body["context_length"] = json!(model.context_length.unwrap_or(CONTEXT_ASSUMED));
        body
    });
    json!({ "models": loaded.collect::<Vec<_>>() }).to_string()
}

/// The body of `POST /api/show`, for a model whose servers speak no Ollama.
pub fn show(listed: &Listed) -> String {
    let mut body = ollama(listed);
    let context = listed.context_length.unwrap_or(CONTEXT_ASSUMED);
    for name in ["license", "modelfile", "template", "parameters", "system"] {
        body[name] = json!("");
    }
    body["model_info"] = json!({ "general.architecture": "unknown", "unknown.context_length": context });
    body.to_string()
}

/// The body of `GET /api/version`.
pub fn ollama_version() -> &'static str {
    OLLAMA_VERSION
}

/// The body of `GET /api/v0/models`, which `GET /api/v1/models` also reads.
pub fn lmstudio(listed: &[Listed]) -> String {
    json!({
        "object": "list",
        "data": listed.iter().map(lmstudio_v0).collect::<Vec<_>>(),
        "models": listed.iter().map(lmstudio_v1).collect::<Vec<_>>(),
    })
    .to_string()
}

fn openai(model: &Listed) -> Value {
    let mut body = json!({
        "id": model.id,
        "object": "model",
        "created": model.created_s,
        "owned_by": model.owned_by,
        "type": "model",
        "display_name": model.id,
        "created_at": rfc3339(model.created_s),
    });
    if let Some(length) = model.context_length {
        for name in ["context_length", "max_model_len", "max_input_tokens", "max_tokens"] {
            body[name] = json!(length);
        }
    }
    body
}

fn gemini(model: &Listed) -> Value {
    let length = model.context_length.unwrap_or(CONTEXT_ASSUMED);
    let methods: &[&str] = if embeds(model) {
        &["embedContent", "batchEmbedContents", "countTokens"]
    } else {
        &["generateContent", "streamGenerateContent", "countTokens"]
    };
    json!({
        "name": format!("models/{}", model.id),
        "displayName": model.id,
        "description": "",
        "version": "1",
        "inputTokenLimit": length,
        "outputTokenLimit": length,
        "supportedGenerationMethods": methods,
    })
}

fn codex(model: &Listed) -> Value {
    json!({
        "slug": model.id,
        "display_name": model.id,
        "context_window": model.context_length.unwrap_or(CONTEXT_ASSUMED),
    })
}

fn ollama(model: &Listed) -> Value {
    json!({
        "name": model.id,
        "model": model.id,
        "modified_at": rfc3339(model.created_s),
        "size": 1,
        "digest": digest(&model.id),
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "unknown",
            "families": ["unknown"],
            "parameter_size": "unknown",
            "quantization_level": "unknown",
        },
        "capabilities": model.capabilities,
        "context_length": model.context_length.unwrap_or(CONTEXT_ASSUMED),
    })
}

fn lmstudio_v0(model: &Listed) -> Value {
    let length = model.context_length.unwrap_or(CONTEXT_ASSUMED);
    json!({
        "id": model.id,
        "object": "model",
        "type": kind(model),
        "publisher": model.owned_by,
        "arch": "unknown",
        "compatibility_type": "gguf",
        "quantization": "unknown",
        "state": if model.resident { "loaded" } else { "not-loaded" },
        "max_context_length": length,
        "loaded_context_length": length,
        "capabilities": if can(model, "tools") { json!(["tool_use"]) } else { json!([]) },
    })
}

fn lmstudio_v1(model: &Listed) -> Value {
    let length = model.context_length.unwrap_or(CONTEXT_ASSUMED);
    let loaded = json!([{ "id": model.id, "config": { "context_length": length } }]);
    json!({
        "type": if embeds(model) { "embedding" } else { "llm" },
        "publisher": model.owned_by,
        "key": model.id,
        "display_name": model.id,
        "architecture": "unknown",
        "quantization": { "name": "unknown", "bits_per_weight": 0 },
        "size_bytes": 1,
        "params_string": null,
        "loaded_instances": if model.resident { loaded } else { json!([]) },
        "max_context_length": length,
        "format": "gguf",
        "capabilities": {
            "vision": can(model, "vision"),
            "trained_for_tool_use": can(model, "tools"),
        },
        "description": null,
    })
}

fn can(model: &Listed, what: &str) -> bool {
    model.capabilities.iter().any(|one| one == what)
}

fn embeds(model: &Listed) -> bool {
    can(model, "embedding") && !can(model, "completion")
}

fn kind(model: &Listed) -> &'static str {
    if embeds(model) {
        "embeddings"
    } else if can(model, "vision") {
        "vlm"
    } else {
        "llm"
    }
}

/// Sixty-four hexadecimal digits that stay the same for a name: FNV-1a from four starts. Clients compare
/// them, nobody checks them against contents.
fn digest(id: &str) -> String {
    let lane = |start: u64| {
        let mixed = id.bytes().fold(start ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{mixed:016x}")
    };
    (0..4).map(lane).collect()
}

/// Seconds since 1970 as a date, by the civil calendar of Howard Hinnant's `civil_from_days`.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}
