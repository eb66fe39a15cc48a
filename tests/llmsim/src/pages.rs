//! What each kind tells about itself: lists, versions, slots, metrics.

use http::Response;
use serde_json::{Value, json};

use crate::{
    date,
    flow::{Answer, full},
    memory::BLOCK_TOKENS,
    route::Page,
    server::Server,
    settings::Kind,
    text,
    trouble::Trouble,
};

const JSON: &str = "application/json; charset=utf-8";
const PARAMETERS: u64 = 134_515_008;
const FILE_BYTES: u64 = 98_000_000;
/// 2026-01-01, when every simulated model was made.
const MADE: u64 = 1_767_225_600;

/// The answer for a page.
pub(crate) fn page(server: &Server, page: &Page, body: &Value) -> Result<Response<Answer>, Trouble> {
    let kind = server.settings.kind;
    let value = match (kind, page) {
        (_, Page::Root) => return Ok(full(200, "text/plain; charset=utf-8", "Ollama is running")),
        (Kind::Vllm, Page::Health) => return Ok(full(200, "text/plain", "")),
        (_, Page::Health) => json!({"status": "ok"}),
        (Kind::Vllm, Page::Version) => json!({"version": "0.19.1"}),
        (_, Page::Version) => json!({"version": "0.31.2"}),
        (_, Page::Metrics) => {
            return Ok(full(200, "text/plain; version=0.0.4; charset=utf-8", metrics(server)));
        }
        (_, Page::WebSocket) => return Ok(full(426, JSON, "{}")),
        (_, Page::Models) => models(server),
        (_, Page::Model(name)) => one(server, name)?,
        (_, Page::Tags) => {
            json!({"models": each(server, |name| tag(server, name))})
        }
        (_, Page::Ps) => json!({"models": resident(server)}),
        (_, Page::Show) => show(server, body)?,
        (_, Page::LmModels) => json!({"object": "list", "data": each(server, |name| lm(server, name))}),
        (_, Page::LmModel(name)) => lm(server, &server.model(name)?),
        (_, Page::LmModelsV1) => json!({"models": each(server, |name| lm_v1(server, name))}),
        (_, Page::Props) => props(server),
        (_, Page::Slots) => slots(server),
    };
    Ok(full(200, JSON, value.to_string()))
}

fn each(server: &Server, one: impl Fn(&str) -> Value) -> Vec<Value> {
    server.settings.models.iter().map(|name| one(name)).collect()
}

fn models(server: &Server) -> Value {
    let data = each(server, |name| entry(server, name));
    match server.settings.kind {
        Kind::Anthropic => {
            let names = &server.settings.models;
            json!({"data": data, "has_more": false, "first_id": names.first(), "last_id": names.last()})
        }
        Kind::Gemini => json!({"models": data}),
        Kind::Llamacpp if server.settings.routes() => json!({"object": "list", "data": data}),
        Kind::Llamacpp => {
            let alias = first_model(server);
            let meta = json!({
                "vocab_type": 2, "n_vocab": 49_152, "n_ctx": server.settings.context_length,
                "n_ctx_train": server.settings.context_length, "n_embd": 576, "n_params": PARAMETERS,
                "size": FILE_BYTES, "ftype": "Q4_1",
            });
            json!({
                "models": [{
                    "name": alias, "model": alias, "modified_at": "", "size": "", "digest": "",
                    "type": "model", "description": "", "tags": [""], "capabilities": ["completion"],
                    "parameters": "", "details": {
                        "parent_model": "", "format": "gguf", "family": "", "families": [""],
                        "parameter_size": "", "quantization_level": "",
                    },
                }],
                "object": "list",
                "data": [{
                    "id": alias, "aliases": [alias], "tags": [], "object": "model",
                    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
                    "created": date::unix().as_secs(), "owned_by": "llamacpp", "meta": meta,
                }],
            })
        }
        _ => json!({"object": "list", "data": data}),
    }
}

fn one(server: &Server, name: &str) -> Result<Value, Trouble> {
    let name = server.model(name)?;
    Ok(entry(server, &name))
}

/// An element of `/v1/models`.
fn entry(server: &Server, name: &str) -> Value {
    let limit = server.settings.context_length;
    match server.settings.kind {
        Kind::Anthropic => json!({
            "type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z",
            "max_input_tokens": limit, "max_tokens": limit,
        }),
        Kind::Gemini => json!({
            "name": format!("models/{name}"), "version": "001", "displayName": name,
            "description": "A simulated model", "inputTokenLimit": limit, "outputTokenLimit": limit,
            "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent", "batchEmbedContents"],
            "temperature": 1, "topP": 0.95, "topK": 64,
        }),
        Kind::Vllm => json!({
            "id": name, "object": "model", "created": date::unix().as_secs(), "owned_by": "vllm",
            "root": name, "parent": null, "max_model_len": limit, "permission": [{
                "id": format!("modelperm-{}", text::hex(text::hash(name.as_bytes()), 16)),
                "object": "model_permission", "created": date::unix().as_secs(),
                "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true,
                "allow_search_indices": false, "allow_view": true, "allow_fine_tuning": false,
                "organization": "*", "group": null, "is_blocking": false,
            }],
        }),
        Kind::Llamacpp => json!({
            "id": name, "object": "model", "created": MADE, "owned_by": "llamacpp", "status": {
                "value": if server.engine.memory.holds(name) { "loaded" } else { "unloaded" }, "args": [],
            },
        }),
        Kind::Ollama => json!({"id": name, "object": "model", "created": MADE, "owned_by": "library"}),
        Kind::LmStudio => json!({"id": name, "object": "model", "owned_by": "organization_owner"}),
        _ => json!({"id": name, "object": "model", "created": MADE, "owned_by": "system"}),
    }
}

fn digest(name: &str) -> String {
    text::hex(text::hash(name.as_bytes()), 64)
}

fn details() -> Value {
    json!({
        "parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
        "parameter_size": "134.52M", "quantization_level": "Q4_1",
    })
}

fn tag(server: &Server, name: &str) -> Value {
    let mut details = details();
    details["context_length"] = json!(server.settings.context_length);
    json!({
        "name": name, "model": name, "modified_at": "2026-01-01T00:00:00.000000000Z", "size": FILE_BYTES,
        "digest": digest(name), "details": details, "capabilities": ["completion", "tools"],
    })
}

fn resident(server: &Server) -> Vec<Value> {
    let names = server.settings.models.iter().filter(|name| server.engine.memory.holds(name));
    names
        .map(|name| {
            json!({
                "name": name, "model": name, "size": FILE_BYTES, "digest": digest(name),
                "details": details(), "expires_at": "2318-01-01T00:00:00.000000000Z",
                "size_vram": FILE_BYTES, "context_length": server.settings.context_length,
            })
        })
        .collect()
}

fn show(server: &Server, body: &Value) -> Result<Value, Trouble> {
    let asked = body["model"].as_str().or(body["name"].as_str()).unwrap_or_default();
    let name = server.model(asked)?;
    Ok(json!({
        "license": "Apache-2.0", "modelfile": format!("FROM {name}\n"), "parameters": "", "template": "{{ .Prompt }}",
        "details": details(), "capabilities": ["completion", "tools", "embedding"],
        "modified_at": "2026-01-01T00:00:00.000000000Z",
        "model_info": {
            "general.architecture": "llama", "general.parameter_count": PARAMETERS,
            "llama.context_length": server.settings.context_length,
            "llama.embedding_length": text::DIMENSIONS,
        },
    }))
}

/// LM Studio's older list.
fn lm(server: &Server, name: &str) -> Value {
    let mut value = json!({
        "id": name, "object": "model", "type": "llm", "publisher": "simulated", "arch": "llama",
        "compatibility_type": "gguf", "quantization": "Q4_1",
        "state": if server.engine.memory.holds(name) { "loaded" } else { "not-loaded" },
        "max_context_length": server.settings.context_length, "capabilities": ["tool_use"],
    });
    if server.engine.memory.holds(name) {
        value["loaded_context_length"] = json!(server.settings.context_length);
    }
    value
}

/// LM Studio's newer list.
fn lm_v1(server: &Server, name: &str) -> Value {
    let instances = if server.engine.memory.holds(name) {
        json!([{"id": name, "config": {
            "context_length": server.settings.context_length, "parallel": server.settings.slots,
        }}])
    } else {
        json!([])
    };
    json!({
        "type": "llm", "publisher": "simulated", "key": name, "display_name": name, "architecture": "llama",
        "quantization": {"name": "Q4_1", "bits_per_weight": 4}, "size_bytes": FILE_BYTES,
        "params_string": "135M", "loaded_instances": instances,
        "max_context_length": server.settings.context_length, "format": "gguf",
        "capabilities": {"vision": false, "trained_for_tool_use": true}, "description": null,
    })
}

fn first_model(server: &Server) -> &str {
    server.settings.models.first().map_or("sim", String::as_str)
}

fn props(server: &Server) -> Value {
    if server.settings.routes() {
        return json!({
            "role": "router", "max_instances": server.settings.models_max, "models_autoload": true,
            "default_generation_settings": {"params": null, "n_ctx": 0}, "build_info": "b11434-simulated",
        });
    }
    json!({
        "default_generation_settings": {
            "id": 0, "n_ctx": server.settings.context_length, "is_processing": false, "params": {},
        },
        "total_slots": server.settings.slots, "model_alias": first_model(server),
        "model_path": format!("/models/{}.gguf", first_model(server)),
        "modalities": {"vision": false, "audio": false}, "chat_template": "", "bos_token": "<s>",
        "eos_token": "</s>", "build_info": "b11434-simulated", "is_sleeping": false,
        "chat_template_caps": {"supports_tools": true, "supports_tool_calls": true},
    })
}

fn slots(server: &Server) -> Value {
    let busy = server.record.look(|stats| stats.busy);
    let one = |id: u32| {
        json!({
            "id": id, "n_ctx": server.settings.context_length, "speculative": false, "is_processing": id < busy,
        })
    };
    Value::Array((0..server.settings.slots.max(1)).map(one).collect())
}

fn metrics(server: &Server) -> String {
    let stats = server.record.look(|stats| {
        let waiting = stats.running.saturating_sub(stats.busy);
        (
            u64::from(stats.busy),
            u64::from(waiting),
            stats.prompt_tokens,
            stats.cached_tokens,
            stats.output_tokens,
        )
    });
    let (running, waiting, fresh, cached, output) = stats;
    let vllm = server.settings.kind == Kind::Vllm;
    let rows: &[(&str, &str, u64)] = if vllm {
        &[
            ("vllm:num_requests_running", "gauge", running),
            ("vllm:num_requests_waiting", "gauge", waiting),
            ("vllm:kv_cache_usage_perc", "gauge", 0),
            ("vllm:prefix_cache_queries_total", "counter", fresh + cached),
            ("vllm:prefix_cache_hits_total", "counter", cached),
            ("vllm:prompt_tokens_total", "counter", fresh + cached),
            ("vllm:generation_tokens_total", "counter", output),
        ]
    } else {
        &[
            ("llamacpp:requests_processing", "gauge", running),
            ("llamacpp:requests_deferred", "gauge", waiting),
            ("llamacpp:prompt_tokens_cached_total", "counter", cached),
            ("llamacpp:prompt_tokens_total", "counter", fresh),
            ("llamacpp:tokens_predicted_total", "counter", output),
        ]
    };
    let model = first_model(server);
    let labels = if vllm { format!("{{engine=\"0\",model_name=\"{model}\"}}") } else { String::new() };
    let decimal = if vllm { ".0" } else { "" };
    let row = |(name, kind, value): &(&str, &str, u64)| {
        format!("# TYPE {name} {kind}\n{name}{labels} {value}{decimal}\n")
    };
    let blocks = (server.settings.kv_tokens as usize) / BLOCK_TOKENS;
    let config = format!(
        "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{block_size=\"{BLOCK_TOKENS}\",\
         enable_prefix_caching=\"{}\",engine=\"0\",num_gpu_blocks=\"{blocks}\"}} 1.0\n",
        if server.settings.cache { "True" } else { "False" },
    );
    rows.iter().map(row).chain(vllm.then_some(config)).collect()
}
