//! Embeddings in every shape.

use serde_json::{Value, json};

use crate::{ask, engine::Timing, route::Embed, text};

/// The texts to embed. The error is the name of a member that is missing.
pub(crate) fn read(shape: Embed, body: &Value) -> Result<Vec<String>, &'static str> {
    let texts = match shape {
        Embed::Openai | Embed::Ollama => ask::inputs(&body["input"]),
        Embed::OllamaOld => ask::inputs(&body["prompt"]),
        Embed::Gemini => ask::inputs(&body["content"]),
        Embed::GeminiBatch => {
            let requests = body["requests"].as_array().map_or(&[][..], Vec::as_slice);
            requests.iter().map(|request| ask::one(&request["content"])).collect()
        }
    };
    match (texts.is_empty(), shape) {
        (true, Embed::Openai) => Err("input"),
        (true, Embed::Gemini | Embed::GeminiBatch) => Err("content"),
        _ => Ok(texts),
    }
}

/// The body of the answer.
pub(crate) fn write(
    shape: Embed,
    model: &str,
    texts: &[String],
    body: &Value,
    prompt_tokens: u32,
    timing: &Timing,
) -> Value {
    let wanted = match shape {
        Embed::Openai | Embed::Ollama => &body["dimensions"],
        Embed::Gemini => ask::either(body, "outputDimensionality", "output_dimensionality"),
        Embed::GeminiBatch => {
            ask::either(&body["requests"][0], "outputDimensionality", "output_dimensionality")
        }
        Embed::OllamaOld => &Value::Null,
    };
    let dimensions =
        wanted.as_u64().map_or(text::DIMENSIONS, |n| (n as usize).clamp(1, text::DIMENSIONS_MAX));
    let vectors: Vec<Vec<f32>> = texts.iter().map(|input| text::vector(input, dimensions)).collect();
    match shape {
        Embed::Openai => {
            let base64 = body["encoding_format"] == "base64";
            let data = vectors.iter().enumerate().map(|(index, vector)| {
                let embedding = if base64 { json!(text::base64_floats(vector)) } else { json!(vector) };
                json!({"object": "embedding", "index": index, "embedding": embedding})
            });
            json!({
                "object": "list", "model": model, "data": data.collect::<Vec<_>>(),
                "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
            })
        }
        Embed::Ollama => json!({
            "model": model, "embeddings": vectors, "total_duration": timing.total().as_nanos() as u64,
            "load_duration": timing.load.as_nanos() as u64, "prompt_eval_count": prompt_tokens,
        }),
        Embed::OllamaOld => json!({"embedding": vectors.first().cloned().unwrap_or_default()}),
        Embed::Gemini => json!({"embedding": {"values": vectors.first().cloned().unwrap_or_default()}}),
        Embed::GeminiBatch => {
            let all: Vec<Value> = vectors.iter().map(|values| json!({"values": values})).collect();
            json!({"embeddings": all})
        }
    }
}
