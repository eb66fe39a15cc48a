//! Lists of models hold what strict clients demand.

use serde_json::Value;
use wire::list::{lmstudio, model, models, ollama_version, ps, show, tags};
use wire::{ListStyle, Listed};

fn listed() -> Vec<Listed> {
    let one = |id: &str, context_length, resident, capabilities: &[&str]| Listed {
        id: id.to_owned(),
        owned_by: "llmb".to_owned(),
        created_s: 1_795_219_200,
        context_length,
        resident,
        capabilities: capabilities.iter().map(|&one| one.to_owned()).collect(),
    };
    vec![
        one("org/qwen3:8b", Some(40_960), true, &["completion", "tools", "vision"]),
        one("größe \"x\"", None, false, &["completion"]),
        one("embed", Some(512), true, &["embedding"]),
    ]
}

fn parse(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

#[test]
fn one_list_for_three_dialects() {
    for style in [ListStyle::Openai, ListStyle::Anthropic, ListStyle::Gemini] {
        let body = parse(&models(&listed(), style));
        assert_eq!(body["object"], "list");
        assert_eq!(body["has_more"], false);
        assert_eq!(body["first_id"], "org/qwen3:8b");
        assert_eq!(body["last_id"], "embed");
        let first = &body["data"][0];
        assert_eq!(first["id"], "org/qwen3:8b");
        assert_eq!(first["object"], "model");
        assert_eq!(first["created"], 1_795_219_200);
        assert_eq!(first["owned_by"], "llmb");
        assert_eq!(first["type"], "model");
        assert_eq!(first["display_name"], "org/qwen3:8b");
        assert_eq!(first["created_at"], "2026-11-21T00:00:00Z");
        for name in ["max_input_tokens", "max_tokens", "max_model_len", "context_length"] {
            assert_eq!(first[name], 40_960, "{name}");
        }
        assert!(body["data"][1].get("context_length").is_none(), "unknown is not invented");
        let gemini = &body["models"][0];
        assert_eq!(gemini["name"], "models/org/qwen3:8b");
        assert_eq!(gemini["inputTokenLimit"], 40_960);
        assert_eq!(gemini["supportedGenerationMethods"][0], "generateContent");
        assert_eq!(body["models"][2]["supportedGenerationMethods"][0], "embedContent");
    }
}

#[test]
fn an_empty_fleet_is_an_empty_list() {
    let body = parse(&models(&[], ListStyle::Openai));
    assert_eq!(body["data"], Value::Array(Vec::new()));
    assert_eq!(body["first_id"], Value::Null);
    assert_eq!(tags(&[]), r#"{"models":[]}"#);
    assert_eq!(ps(&[]), r#"{"models":[]}"#);
}

#[test]
fn codex_gets_its_own_list() {
    let body = parse(&models(&listed(), ListStyle::Codex));
    assert_eq!(body["models"][0]["slug"], "org/qwen3:8b");
    assert!(body.get("data").is_none());
}

#[test]
fn one_model_for_three_dialects() {
    let body = parse(&model(&listed()[0], ListStyle::Gemini));
    assert_eq!(
        (&body["id"], &body["name"]),
        (&Value::from("org/qwen3:8b"), &Value::from("models/org/qwen3:8b"))
    );
    assert_eq!(body["type"], "model");
}

#[test]
fn ollama_lists_hold_every_strict_field() {
    let body = parse(&tags(&listed()));
    assert_eq!(body["models"].as_array().unwrap().len(), 3);
    for model in body["models"].as_array().unwrap() {
        assert_eq!(model["name"], model["model"]);
        assert!(model["size"].as_u64().unwrap() > 0);
        assert!(model["modified_at"].as_str().unwrap().ends_with('Z'));
        let digest = model["digest"].as_str().unwrap();
        assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
        for name in ["parent_model", "format", "family", "parameter_size", "quantization_level"] {
            assert!(model["details"][name].is_string(), "{name}");
        }
        assert!(model["details"]["families"].is_array());
    }
    let digests: std::collections::BTreeSet<&str> =
        body["models"].as_array().unwrap().iter().filter_map(|model| model["digest"].as_str()).collect();
    assert_eq!(digests.len(), 3);
    let loaded = parse(&ps(&listed()));
    assert_eq!(loaded["models"].as_array().unwrap().len(), 2);
    assert!(loaded["models"][0]["expires_at"].is_string() && loaded["models"][0]["size_vram"].is_u64());
}

#[test]
fn show_tells_what_clients_choose_by() {
    let body = parse(&show(&listed()[0]));
    assert_eq!(body["capabilities"][1], "tools");
    let info = body["model_info"].as_object().unwrap();
    let architecture = info["general.architecture"].as_str().unwrap();
    assert_eq!(info[&format!("{architecture}.context_length")], 40_960);
    for name in ["modelfile", "template", "parameters", "license", "modified_at"] {
        assert!(body[name].is_string(), "{name}");
    }
    for name in ["family", "parameter_size", "format", "quantization_level"] {
        assert!(body["details"][name].is_string(), "{name}");
    }
}

#[test]
fn lmstudio_lists_hold_every_strict_field() {
    let body = parse(&lmstudio(&listed()));
    let kinds: Vec<&str> =
        body["data"].as_array().unwrap().iter().map(|model| model["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["vlm", "llm", "embeddings"]);
    for model in body["data"].as_array().unwrap() {
        for name in ["id", "object", "publisher", "arch", "compatibility_type", "quantization", "state"] {
            assert!(model[name].is_string(), "{name}");
        }
        assert!(model["max_context_length"].is_u64());
    }
    assert_eq!(body["data"][1]["state"], "not-loaded");
    assert_eq!(body["models"][0]["loaded_instances"].as_array().unwrap().len(), 1);
    assert!(body["models"][1]["loaded_instances"].as_array().unwrap().is_empty());
}

#[test]
fn the_version_is_recent() {
    assert!(parse(ollama_version())["version"].as_str().unwrap() >= "0.12.0");
}

#[test]
fn dates() {
    let at = |created_s| {
        parse(&model(&Listed { created_s, ..listed().remove(0) }, ListStyle::Openai))["created_at"].clone()
    };
    for (seconds, date) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (1_795_262_399, "2026-11-21T11:59:59Z"),
    ] {
        assert_eq!(at(seconds), date, "{seconds}");
    }
}
