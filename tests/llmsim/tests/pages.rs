//! What each kind tells about itself, and the errors it gives.

#[cfg(test)]
mod rig;

use std::time::Duration;

use llmsim::{Fault, Kind};
use rig::{DEADLINE, call, chat, get, post, sim, with};
use serde_json::{Value, json};

#[test]
fn every_kind_is_known_by_its_pages() {
    for (kind, path, pointer, value) in [
        (Kind::Ollama, "/api/version", "/version", json!("0.31.2")),
        (Kind::Ollama, "/api/tags", "/models/1/name", json!("n")),
        (Kind::Ollama, "/v1/models", "/data/0/owned_by", json!("library")),
        (Kind::LmStudio, "/api/v0/models", "/data/0/state", json!("not-loaded")),
        (Kind::LmStudio, "/api/v0/models", "/data/0/compatibility_type", json!("gguf")),
        (Kind::LmStudio, "/api/v0/models/n", "/id", json!("n")),
        (Kind::LmStudio, "/api/v1/models", "/models/0/loaded_instances", json!([])),
        (Kind::LmStudio, "/props", "/error", json!("Unexpected endpoint or method. (GET /props)")),
        (Kind::Llamacpp, "/props", "/total_slots", json!(1)),
        (Kind::Llamacpp, "/props", "/default_generation_settings/n_ctx", json!(32_768)),
        (Kind::Llamacpp, "/slots", "/0/is_processing", json!(false)),
        (Kind::Llamacpp, "/health", "/status", json!("ok")),
        (Kind::Llamacpp, "/v1/models", "/data/0/meta/n_ctx", json!(32_768)),
        (Kind::Llamacpp, "/v1/models", "/models/0/name", json!("m")),
        (Kind::Vllm, "/version", "/version", json!("0.19.1")),
        (Kind::Vllm, "/v1/models", "/data/0/max_model_len", json!(32_768)),
        (Kind::Vllm, "/v1/models", "/data/0/owned_by", json!("vllm")),
        (Kind::Openai, "/v1/models", "/data/1/id", json!("n")),
        (Kind::Openai, "/v1/models/n", "/object", json!("model")),
        (Kind::Anthropic, "/v1/models", "/data/0/type", json!("model")),
        (Kind::Anthropic, "/v1/models", "/last_id", json!("n")),
        (Kind::Gemini, "/v1beta/models", "/models/0/name", json!("models/m")),
        (Kind::Gemini, "/v1/models/n", "/name", json!("models/n")),
    ] {
        let reply = get(&sim(kind), path);
        assert_eq!((reply.status, reply.json().pointer(pointer)), (200, Some(&value)), "{kind} {path}");
    }
    assert_eq!(get(&sim(Kind::Ollama), "/").text(), "Ollama is running");
    assert!(get(&sim(Kind::Vllm), "/metrics").text().contains("vllm:num_requests_running{"));
    let show = post(&sim(Kind::Ollama), "/api/show", &json!({"model": "m:latest"})).json();
    assert_eq!(show["model_info"]["llama.context_length"], 32_768);
}

#[test]
fn slots_and_metrics_show_the_work() {
    let sim = with(Kind::Llamacpp, |s| (s.slots, s.first_fault) = (2, Some(Fault::Stall)));
    let (path, body) = chat(Kind::Llamacpp, true);
    let _open: Vec<_> = (0..3).map(|_| call(&sim, "POST", &path, &[], &body)).collect();
    assert!(sim.wait_blocking(|s| s.running == 3 && s.busy == 2, DEADLINE));
    let slots = get(&sim, "/slots").json();
    assert_eq!([&slots[0]["is_processing"], &slots[1]["is_processing"]], [&json!(true), &json!(true)]);
    let metrics = get(&sim, "/metrics").text();
    assert!(metrics.contains("\nllamacpp:requests_processing 2\n"), "{metrics}");
    assert!(metrics.contains("\nllamacpp:requests_deferred 1\n"), "{metrics}");
}

#[test]
fn an_unknown_model_is_what_its_kind_makes_of_it() {
    let not_found = "try pulling it first";
    for (kind, status, pointer, part) in [
        (Kind::Ollama, 404, "/error", "model 'zz' not found"),
        (Kind::LmStudio, 404, "/error/code", "model_not_found"),
        (Kind::Vllm, 404, "/error/type", "NotFoundError"),
        (Kind::Openai, 404, "/error/code", "model_not_found"),
        (Kind::Anthropic, 404, "/error/message", "model: zz"),
        (Kind::Gemini, 404, "/error/status", "NOT_FOUND"),
        (Kind::Llamacpp, 200, "/model", "m"),
    ] {
        let sim = sim(kind);
        let (path, mut body) = chat(kind, false);
        body["model"] = json!("zz");
        let reply = post(&sim, &path.replace("/m:", "/zz:"), &body);
        let found = reply.json().pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert!(reply.status == status && found.contains(part), "{kind}: {} {}", reply.status, reply.text());
        assert_eq!(sim.stats().requests[0].model, "zz");
    }
    let body = json!({"model": "zz", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1});
    let ollama = sim(Kind::Ollama);
    let openai = post(&ollama, "/v1/chat/completions", &body).json();
    assert!(openai["error"]["message"].as_str().unwrap().contains(not_found));
    assert_eq!(post(&ollama, "/v1/messages", &body).json()["error"]["type"], "not_found_error");
    let vllm = sim(Kind::Vllm);
    assert_eq!(post(&vllm, "/v1/messages", &body).json()["error"]["type"], "not_found_error");
}

#[test]
fn a_prompt_that_is_too_long_is_what_its_kind_makes_of_it() {
    for (kind, pointer, part) in [
        (Kind::Llamacpp, "/error/type", "exceed_context_size_error"),
        (Kind::Vllm, "/error/message", "maximum context length is 1 tokens"),
        (Kind::Openai, "/error/code", "context_length_exceeded"),
        (Kind::Anthropic, "/error/message", "prompt is too long: 2 tokens > 1 maximum"),
        (Kind::Gemini, "/error/message", "input token count (2) exceeds"),
    ] {
        let sim = with(kind, |s| s.context_length = 1);
        for stream in [true, false] {
            let (path, body) = chat(kind, stream);
            let reply = post(&sim, &path, &body);
            let found = reply.json().pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            assert!(reply.status == 400 && found.contains(part), "{kind}: {}", reply.text());
        }
        assert_eq!((sim.stats().accepted, sim.stats().refused), (0, 2));
    }
    let ollama = with(Kind::Ollama, |s| s.context_length = 1);
    let (path, body) = chat(Kind::Ollama, false);
    assert_eq!(post(&ollama, &path, &body).json()["prompt_eval_count"], 1);
}

#[test]
fn a_body_that_is_wrong_is_a_400() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Ollama) {
        let sim = sim(kind);
        let (path, mut body) = chat(kind, true);
        for member in ["messages", "contents"] {
            body.as_object_mut().unwrap().remove(member);
        }
        assert_eq!(post(&sim, &path, &body).status, 400, "{kind}");
        assert_eq!(post(&sim, &path, &Value::Null).status, 400, "{kind}");
    }
    let sim = sim(Kind::Anthropic);
    let (path, mut body) = chat(Kind::Anthropic, false);
    assert_eq!(call(&sim, "POST", &path, &[], &body).reply().unwrap().status, 400, "no anthropic-version");
    body.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(post(&sim, &path, &body).json()["error"]["message"], "max_tokens: Field required");
}

#[test]
fn unknown_paths_are_unknown_in_each_way() {
    for (kind, status, body) in [
        (Kind::Ollama, 404, "404 page not found"),
        (Kind::Vllm, 404, r#"{"detail":"Not Found"}"#),
        (Kind::LmStudio, 200, r#"{"error":"Unexpected endpoint or method. (GET /nope)"}"#),
    ] {
        let reply = get(&sim(kind), "/nope");
        assert_eq!((reply.status, reply.text().as_str()), (status, body), "{kind}");
    }
    let llama = get(&sim(Kind::Llamacpp), "/nope");
    assert_eq!(
        llama.json(),
        json!({"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}})
    );
    assert_eq!(llama.header("connection"), "close");
    assert_eq!(get(&sim(Kind::Anthropic), "/nope").json()["error"]["type"], "not_found_error");
    assert_eq!(get(&sim(Kind::Openai), "/v1/responses").status, 426);
}

#[test]
fn a_key_is_asked_for_where_each_kind_looks() {
    for (kind, header, value) in [
        (Kind::Openai, "authorization", "Bearer k"),
        (Kind::Vllm, "authorization", "Bearer k"),
        (Kind::Llamacpp, "x-api-key", "k"),
        (Kind::Anthropic, "x-api-key", "k"),
        (Kind::Anthropic, "authorization", "Bearer k"),
        (Kind::Gemini, "x-goog-api-key", "k"),
    ] {
        let sim = with(kind, |s| s.api_key = Some("k".to_owned()));
        let (path, body) = chat(kind, false);
        assert_eq!(post(&sim, &path, &body).status, 401, "{kind}");
        let version = ("anthropic-version", "2026-10-21");
        let reply = call(&sim, "POST", &path, &[version, (header, value)], &body).reply().unwrap();
        assert_eq!(reply.status, 200, "{kind} {header}");
    }
    let gemini = with(Kind::Gemini, |s| s.api_key = Some("k".to_owned()));
    assert_eq!(get(&gemini, "/v1beta/models?key=k").status, 200);
    assert_eq!(get(&gemini, "/v1beta/models?key=x").status, 401);
    let vllm = with(Kind::Vllm, |s| s.api_key = Some("k".to_owned()));
    assert_eq!((get(&vllm, "/version").status, get(&vllm, "/v1/models").status), (200, 401));
}

#[test]
fn llamacpp_answers_503_everywhere_while_it_loads() {
    let sim = with(Kind::Llamacpp, |s| s.load_time = Duration::from_secs(3600));
    for path in ["/health", "/v1/models", "/metrics", "/props"] {
        let reply = get(&sim, path);
        assert_eq!(reply.status, 503, "{path}");
        assert_eq!(reply.json()["error"]["type"], "unavailable_error");
    }
}

#[test]
fn llamacpp_closes_a_kept_connection_at_its_hundredth_request() {
    let sim = sim(Kind::Llamacpp);
    let mut kept = rig::Call::connect(&sim);
    for number in 1..=100 {
        kept.send("GET", "/health", &[], &Value::Null);
        let reply = kept.reply().unwrap();
        assert_eq!(reply.header("connection") == "close", number == 100, "{number}");
    }
    assert!(kept.reply().is_none());
}

#[test]
fn embeddings_come_in_every_shape() {
    let post = |kind, path: &str, body: Value| post(&sim(kind), path, &body).json();
    let floats =
        post(Kind::Openai, "/v1/embeddings", json!({"model": "m", "input": ["a", "b"], "dimensions": 4}));
    assert_eq!(floats["data"][1]["embedding"].as_array().unwrap().len(), 4);
    assert_eq!(floats["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    let coded = json!({"model": "m", "input": "a", "encoding_format": "base64", "dimensions": 3});
    assert_eq!(post(Kind::Vllm, "/v1/embeddings", coded)["data"][0]["embedding"].as_str().unwrap().len(), 16);
    let one = post(Kind::Ollama, "/api/embed", json!({"model": "m", "input": "a", "dimensions": 4}));
    assert_eq!(one["embeddings"][0], floats["data"][0]["embedding"]);
    let old = post(Kind::Ollama, "/api/embeddings", json!({"model": "m", "prompt": "a"}));
    assert_eq!(old["embedding"].as_array().unwrap().len(), llmsim::DIMENSIONS);
    let content = json!({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4});
    let single = post(Kind::Gemini, "/v1beta/models/m:embedContent", content.clone());
    assert_eq!(single["embedding"]["values"], one["embeddings"][0]);
    let batch = post(Kind::Gemini, "/v1/models/m:batchEmbedContents", json!({"requests": [content]}));
    assert_eq!(batch["embeddings"][0], single["embedding"]);
}

#[test]
fn tokens_are_counted_in_both_shapes() {
    let body = json!({"model": "m", "system": "1234", "messages": [{"role": "user", "content": "hello"}]});
    for kind in [Kind::Anthropic, Kind::Llamacpp, Kind::Vllm] {
        let sim = sim(kind);
        assert_eq!(
            post(&sim, "/v1/messages/count_tokens", &body).json(),
            json!({"input_tokens": 3}),
            "{kind}"
        );
        assert_eq!((sim.stats().accepted, sim.stats().others.len()), (0, 1));
    }
    let body = json!({"contents": [{"parts": [{"text": "hello"}]}]});
    assert_eq!(post(&sim(Kind::Gemini), "/v1beta/models/m:countTokens", &body).json()["totalTokens"], 2);
}
