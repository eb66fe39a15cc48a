//! Ollama: chat and generate in lines, the rest in one piece; durations in nanoseconds.

use super::error::string;
use super::usage::{count, members, micros, replace};
use super::whole::Leaf;
use super::{State, says_something};
use crate::scan::{Bad, Scan};

pub(super) const LEAVES: [Leaf; 8] = [
    (1, "message"),
    (1, "done_reason"),
    (1, "prompt_eval_count"),
    (1, "eval_count"),
    (1, "prompt_eval_duration"),
    (1, "eval_duration"),
    (1, "load_duration"),
    (1, "error"),
];

/// Microseconds in a nanosecond.
const NANOSECOND_US: f64 = 1e-3;

pub(super) fn element(state: &mut State, text: &str) -> Result<(), Bad> {
    Scan::new(text).object::<Bad>(|scan, key| {
        let span = scan.skip()?;
        let value = &text[span];
        match key.raw {
            "response" | "thinking" => state.report.content |= says_something(value),
            "done" => state.report.complete |= value == "true",
            key => leaf(state, key, value),
        }
        Ok(())
    })?;
    Ok(())
}

pub(super) fn leaf(state: &mut State, key: &str, value: &str) {
    let report = &mut state.report;
    match key {
        "message" => members(value, |key, value| {
            report.content |= key != "role" && says_something(value);
            // the reason to end does not tell
            report.calls |= key == "tool_calls" && says_something(value);
        }),
        "done_reason" => report.finish = string(value).or(report.finish.take()),
        // Cached tokens are in this count and not in the duration, so no rate comes of the two.
        "prompt_eval_count" => replace(&mut report.usage.prompt, count(value)),
        "eval_count" => replace(&mut report.usage.output, count(value)),
        "prompt_eval_duration" => replace(&mut report.timing.prefill_us, micros(value, NANOSECOND_US)),
        "eval_duration" => replace(&mut report.timing.decode_us, micros(value, NANOSECOND_US)),
        "load_duration" => replace(&mut report.timing.load_us, micros(value, NANOSECOND_US)),
        "error" => state.fail(value),
        _ => {}
    }
}
