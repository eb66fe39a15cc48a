//! Token counts and times, by the names that servers give them.

use super::{Timing, Usage};
use crate::scan::{Bad, Peek, Scan};

/// Calls `member` with each member of an object; anything else has none.
pub(super) fn members(value: &str, mut member: impl FnMut(&str, &str)) {
    let mut scan = Scan::new(value);
    if scan.peek() == Ok(Peek::Object) {
        let _ = scan.object::<Bad>(|scan, key| {
            let span = scan.skip()?;
            member(key.raw, scan.slice(&span));
            Ok(())
        });
    }
}

/// A count: whole, or a fraction as one kind of server writes it; `None` for null and all else.
pub(super) fn count(value: &str) -> Option<u64> {
    value.parse().ok().or_else(|| rounded(value, 1.0))
}

/// Microseconds from a number in a unit of that many microseconds.
pub(super) fn micros(value: &str, unit_us: f64) -> Option<u64> {
    rounded(value, unit_us)
}

fn rounded(value: &str, unit: f64) -> Option<u64> {
    let number = value.parse::<f64>().ok()? * unit;
    // Beyond 2^53 a float no longer tells whole numbers apart, so nothing real is lost by the bound.
    (number.is_finite() && (0.0..9_007_199_254_740_992.0).contains(&number)).then_some(number.round() as u64)
}

/// Later counts replace earlier ones; what is not told stays.
pub(super) fn replace(slot: &mut Option<u64>, value: Option<u64>) {
    if value.is_some() {
        *slot = value;
    }
}

/// Usage in OpenAI's shape, of chat completions and of responses alike, with the aliases seen in the wild.
pub(super) fn openai(usage: &mut Usage, value: &str) {
    let mut cached_inside = None;
    let mut cached_beside = None;
    members(value, |key, value| match key {
        "prompt_tokens" | "input_tokens" => replace(&mut usage.prompt, count(value)),
        "completion_tokens" | "output_tokens" => replace(&mut usage.output, count(value)),
        "reasoning_tokens" => replace(&mut usage.reasoning, count(value)),
        "prompt_tokens_details" | "input_tokens_details" => members(value, |key, value| {
            if is_cached(key) {
                replace(&mut cached_inside, count(value));
            }
        }),
        "completion_tokens_details" | "output_tokens_details" => members(value, |key, value| {
            if key == "reasoning_tokens" {
                replace(&mut usage.reasoning, count(value));
            }
        }),
        key if is_cached(key) => replace(&mut cached_beside, count(value)),
        _ => {}
    });
    replace(&mut usage.cached, cached_inside.or(cached_beside));
}

fn is_cached(key: &str) -> bool {
    matches!(
        key,
        "cached_tokens" | "cache_read_tokens" | "cache_read_input_tokens" | "prompt_cache_hit_tokens"
    )
}

/// llama.cpp's `timings`, in milliseconds.
pub(super) fn llamacpp(usage: &mut Usage, timing: &mut Timing, value: &str) {
    let (mut cached, mut prompt, mut output) = (None, None, None);
    members(value, |key, value| match key {
        "cache_n" => cached = count(value),
        "prompt_n" => prompt = count(value),
        "predicted_n" => output = count(value),
        "prompt_ms" => replace(&mut timing.prefill_us, micros(value, 1e3)),
        "predicted_ms" => replace(&mut timing.decode_us, micros(value, 1e3)),
        _ => {}
    });
    replace(&mut timing.prefill_tokens, prompt);
    usage.cached = usage.cached.or(cached);
    usage.output = usage.output.or(output);
    usage.prompt = usage.prompt.or(prompt.and_then(|prompt| sum(Some(prompt), cached)));
}

/// LM Studio's `stats`, in seconds.
pub(super) fn lmstudio(timing: &mut Timing, value: &str) {
    members(value, |key, value| match key {
        "time_to_first_token" => replace(&mut timing.prefill_us, micros(value, 1e6)),
        "generation_time" => replace(&mut timing.decode_us, micros(value, 1e6)),
        _ => {}
    });
}

/// Gemini's `usageMetadata`; its candidates do not hold the thoughts.
pub(super) fn gemini(usage: &mut Usage, value: &str) {
    let (mut prompt, mut tools, mut answer, mut thoughts) = (None, None, None, None);
    members(value, |key, value| match key {
        "promptTokenCount" => prompt = count(value),
        "toolUsePromptTokenCount" => tools = count(value),
        "candidatesTokenCount" => answer = count(value),
        "thoughtsTokenCount" => thoughts = count(value),
        "cachedContentTokenCount" => replace(&mut usage.cached, count(value)),
        _ => {}
    });
    replace(&mut usage.prompt, sum(prompt, tools));
    replace(&mut usage.output, sum(answer, thoughts));
    replace(&mut usage.reasoning, thoughts);
}

/// The sum of what is told; `None` where nothing is.
pub(super) fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (None, None) => None,
        _ => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
    }
}
