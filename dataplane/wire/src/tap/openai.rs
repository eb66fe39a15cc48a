//! OpenAI chat completions, completions and embeddings.

use super::error::string;
use super::usage::{llamacpp, lmstudio, openai};
use super::whole::Leaf;
use super::{State, says_something};
use crate::scan::{Bad, Peek, Scan};

pub(super) const LEAVES: [Leaf; 5] =
    [(1, "usage"), (1, "timings"), (1, "stats"), (1, "error"), (3, "finish_reason")];

pub(super) fn element(state: &mut State, text: &str) -> Result<(), Bad> {
    let mut flat_error = false;
    let mut message = None;
    Scan::new(text).object(|scan, key| {
        if key.raw == "choices" && scan.peek()? == Peek::Array {
            scan.array(|scan| choice(state, scan))?;
            return Ok(());
        }
        let span = scan.skip()?;
        let value = scan.slice(&span);
        match key.raw {
            "object" => flat_error = value == "\"error\"",
            "message" => message = string(value),
            key => leaf(state, key, value),
        }
        Ok(())
    })?;
    if flat_error {
        state.report.error = message.or(state.report.error.take());
    }
    Ok(())
}

pub(super) fn leaf(state: &mut State, key: &str, value: &str) {
    let report = &mut state.report;
    match key {
        "usage" => openai(&mut report.usage, value),
        "timings" => llamacpp(&mut report.usage, &mut report.timing, value),
        "stats" => lmstudio(&mut report.timing, value),
        "error" => state.fail(value),
        "finish_reason" => {
            if let Some(reason) = string(value).filter(|reason| !reason.is_empty()) {
                state.finish(reason);
            }
        }
        _ => {}
    }
}

fn choice(state: &mut State, scan: &mut Scan<'_>) -> Result<(), Bad> {
    if scan.peek()? != Peek::Object {
        return scan.pass();
    }
    let mut index = 0_u32;
    let mut reason = None;
    scan.object::<Bad>(|scan, key| {
        if key.raw == "delta" && scan.peek()? == Peek::Object {
            return delta(state, scan);
        }
        let span = scan.skip()?;
        let value = scan.slice(&span);
        match key.raw {
            "index" => index = value.parse().unwrap_or(0),
            "finish_reason" => reason = string(value).filter(|reason| !reason.is_empty()),
            "text" | "message" => state.report.content |= says_something(value),
            _ => {}
        }
        Ok(())
    })?;
    if let Some(reason) = reason {
        state.finished |= 1_u128.checked_shl(index).unwrap_or(0);
        state.finish(reason);
    }
    Ok(())
}

fn delta(state: &mut State, scan: &mut Scan<'_>) -> Result<(), Bad> {
    scan.object::<Bad>(|scan, key| {
        let span = scan.skip()?;
        state.report.content |= key.raw != "role" && says_something(scan.slice(&span));
        Ok(())
    })?;
    Ok(())
}
