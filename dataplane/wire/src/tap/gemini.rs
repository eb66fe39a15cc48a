//! Google Gemini: each element is a whole answer, its usage cumulative.

use super::error::string;
use super::usage::{gemini, members};
use super::whole::Leaf;
use super::{State, says_something};
use crate::scan::{Bad, Peek, Scan};

pub(super) const LEAVES: [Leaf; 5] =
    [(1, "usageMetadata"), (1, "promptFeedback"), (1, "error"), (3, "content"), (3, "finishReason")];

pub(super) fn element(state: &mut State, text: &str) -> Result<(), Bad> {
    Scan::new(text).object::<Bad>(|scan, key| {
        if key.raw == "candidates" && scan.peek()? == Peek::Array {
            scan.array(|scan| candidate(state, scan))?;
            return Ok(());
        }
        let span = scan.skip()?;
        leaf(state, key.raw, &text[span]);
        Ok(())
    })?;
    Ok(())
}

pub(super) fn leaf(state: &mut State, key: &str, value: &str) {
    match key {
        "content" => members(value, |key, value| {
            if key == "parts" {
                parts(state, value);
            }
        }),
        "usageMetadata" => gemini(&mut state.report.usage, value),
        "finishReason" => {
            if let Some(reason) = string(value) {
                state.finish(reason);
            }
        }
        // A blocked prompt is an answer without candidates.
        "promptFeedback" => members(value, |key, value| {
            if let ("blockReason", Some(reason)) = (key, string(value)) {
                state.finish(reason);
            }
        }),
        "error" => state.fail(value),
        _ => {}
    }
}

fn candidate(state: &mut State, scan: &mut Scan<'_>) -> Result<(), Bad> {
    if scan.peek()? != Peek::Object {
        return scan.pass();
    }
    scan.object::<Bad>(|scan, key| {
        let span = scan.skip()?;
        leaf(state, key.raw, scan.slice(&span));
        Ok(())
    })?;
    Ok(())
}

fn parts(state: &mut State, value: &str) {
    let mut scan = Scan::new(value);
    if scan.peek() != Ok(Peek::Array) {
        return;
    }
    let _ = scan.array::<Bad>(|scan| {
        let span = scan.skip()?;
        members(&value[span], |key, value| {
            let mark = matches!(key, "thought" | "thoughtSignature");
            state.report.content |= !mark && says_something(value);
            // the reason to end does not tell
            state.report.calls |= key == "functionCall";
        });
        Ok(())
    });
}
