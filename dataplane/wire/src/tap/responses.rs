//! OpenAI responses.

use super::error::string;
use super::usage::{llamacpp, members, openai};
use super::whole::Leaf;
use super::{State, says_something};
use crate::scan::{Bad, Scan};

pub(super) const LEAVES: [Leaf; 6] =
    [(1, "usage"), (1, "timings"), (1, "status"), (1, "incomplete_details"), (1, "error"), (3, "type")];

pub(super) fn element(state: &mut State, text: &str) -> Result<(), Bad> {
    let mut kind = "";
    let mut response = None;
    let mut delta = false;
    let mut message = None;
    let mut timings = None;
    let mut item = "";
    Scan::new(text).object::<Bad>(|scan, key| {
        let span = scan.skip()?;
        let value = &text[span];
        match key.raw {
            "type" => kind = value.trim_matches('"'),
            "response" => response = Some(value),
            "delta" | "item" | "text" | "arguments" => {
                delta |= says_something(value);
                if key.raw == "item" {
                    item = value;
                }
            }
            "message" => message = string(value),
            "error" => state.fail(value),
            "timings" => timings = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    if kind == "response.created" {
        members(response.unwrap_or("{}"), |key, value| {
            if key == "id" {
                state.report.id = string(value);
            }
        });
    }
    match kind {
        "response.completed" | "response.incomplete" | "response.failed" => {
            members(response.unwrap_or("{}"), |key, value| leaf(state, key, value));
            // llama.cpp puts them beside the response.
            if let Some(timings) = timings {
                leaf(state, "timings", timings);
            }
            state.report.complete = true;
        }
        "error" => state.report.error = message.or(state.report.error.take()),
        "response.output_item.done" => {
            state.report.content |= delta;
            members(item, |key, value| {
                if key == "type" {
                    leaf(state, key, value);
                }
            });
        }
        kind => {
            state.report.content |= delta && (kind.ends_with(".delta") || kind.ends_with("partial_image"))
        }
    }
    Ok(())
}

pub(super) fn leaf(state: &mut State, key: &str, value: &str) {
    match key {
        "usage" => openai(&mut state.report.usage, value),
        "timings" => llamacpp(&mut state.report.usage, &mut state.report.timing, value),
        "error" => state.fail(value),
        // of an item of the answer
        "type" => state.report.calls |= matches!(value, "\"function_call\"" | "\"custom_tool_call\""),
        // The reason says more than the status, whichever comes first.
        "status" if state.report.finish.is_none() => state.report.finish = string(value),
        "incomplete_details" => members(value, |key, value| {
            if let ("reason", Some(reason)) = (key, string(value)) {
                state.finish(reason);
            }
        }),
        _ => {}
    }
}
