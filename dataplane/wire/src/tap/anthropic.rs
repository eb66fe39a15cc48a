//! Anthropic messages.

use super::error::string;
use super::usage::{count, members, replace, sum};
use super::whole::Leaf;
use super::{State, says_something};
use crate::scan::{Bad, Scan};

pub(super) const LEAVES: [Leaf; 3] = [(1, "usage"), (1, "stop_reason"), (1, "error")];

/// Parts of the prompt, which this dialect counts apart.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Parts {
    fresh: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
}

pub(super) fn element(state: &mut State, text: &str) -> Result<(), Bad> {
    let mut kind = "";
    let (mut delta, mut block, mut message) = ("", "", "");
    let mut error = None;
    Scan::new(text).object::<Bad>(|scan, key| {
        let span = scan.skip()?;
        let value = &text[span];
        match key.raw {
            "type" => kind = value.trim_matches('"'),
            "delta" => delta = value,
            "content_block" => block = value,
            "message" => message = value,
            "usage" => leaf(state, "usage", value),
            "error" => error = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    match kind {
        "message_start" => members(message, |key, value| {
            if key == "usage" {
                leaf(state, key, value);
            }
        }),
        "content_block_delta" => members(delta, |key, value| {
            state.report.content |= key != "type" && says_something(value);
        }),
        "content_block_start" => members(block, |key, value| {
            // A tool call says its name here; a text or thought starts empty.
            state.report.content |= !matches!(key, "type" | "id" | "citations") && says_something(value);
        }),
        "message_delta" => members(delta, |key, value| leaf(state, key, value)),
        "message_stop" => state.report.complete = true,
        _ => {}
    }
    if let Some(error) = error {
        state.fail(error);
    }
    Ok(())
}

pub(super) fn leaf(state: &mut State, key: &str, value: &str) {
    match key {
        "usage" => usage(state, value),
        "stop_reason" => {
            if let Some(reason) = string(value) {
                state.finish(reason);
            }
        }
        "error" => state.fail(value),
        _ => {}
    }
}

/// Cumulative: each count replaces the one before.
fn usage(state: &mut State, value: &str) {
    let (parts, usage) = (&mut state.anthropic, &mut state.report.usage);
    members(value, |key, value| match key {
        "input_tokens" => replace(&mut parts.fresh, count(value)),
        "cache_read_input_tokens" => replace(&mut parts.read, count(value)),
        "cache_creation_input_tokens" => replace(&mut parts.written, count(value)),
        "output_tokens" => replace(&mut usage.output, count(value)),
        "output_tokens_details" => members(value, |key, value| {
            if matches!(key, "thinking_tokens" | "reasoning_tokens") {
                replace(&mut usage.reasoning, count(value));
            }
        }),
        _ => {}
    });
    usage.prompt = sum(sum(parts.fresh, parts.read), parts.written);
    usage.cached = parts.read;
}
