//! Google Gemini: the path names the model; members come in two spellings.

use super::weigh::{weigh, weigh_json};
use super::{Draft, MODELS_INSIDE_MAX, Place, Stop, field};
use crate::scan::{Peek, Scan};

pub(super) fn member<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>, name: &str) -> Result<(), Stop> {
    match name {
        "contents" | "content" => {
            draft.places.set(Place::Messages, scan);
            weigh(scan, &mut draft.weight)?;
        }
        "systemInstruction" | "system_instruction" => {
            draft.places.set(Place::System, scan);
            weigh(scan, &mut draft.weight)?;
        }
        "tools" => {
            draft.places.set(Place::Tools, scan);
            weigh_json(scan, &mut draft.weight)?;
        }
        "generationConfig" | "generation_config" => config(draft, scan)?,
        "model" => model(draft, scan)?,
        "generateContentRequest" | "generate_content_request" => request(draft, scan)?,
        "requests" if scan.peek()? == Peek::Array => {
            scan.array(|scan| request(draft, scan))?;
        }
        _ => {
            scan.skip()?;
        }
    }
    Ok(())
}

fn request<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>) -> Result<(), Stop> {
    if scan.peek()? != Peek::Object {
        scan.skip()?;
        return Ok(());
    }
    scan.object::<Stop>(|scan, key| match key.name().as_ref() {
        "contents" | "content" | "systemInstruction" | "system_instruction" => {
            weigh(scan, &mut draft.weight).map_err(Stop::from)
        }
        "tools" => weigh_json(scan, &mut draft.weight).map_err(Stop::from),
        "model" => model(draft, scan),
        _ => scan.pass(),
    })?;
    Ok(())
}

/// A repetition of the model inside the body.
fn model<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>) -> Result<(), Stop> {
    if scan.peek()? != Peek::Text {
        scan.skip()?;
        return Ok(());
    }
    if draft.models_inside.len() == MODELS_INSIDE_MAX {
        return Err(field("requests", format!("has more than {MODELS_INSIDE_MAX} elements")));
    }
    draft.models_inside.push(scan.text()?.span);
    Ok(())
}

fn config<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>) -> Result<(), Stop> {
    if scan.peek()? != Peek::Object {
        scan.skip()?;
        return Ok(());
    }
    scan.object::<Stop>(|scan, key| match key.name().as_ref() {
        "maxOutputTokens" | "max_output_tokens" => draft.read_max(scan),
        "candidateCount" | "candidate_count" => super::chat::choices(draft, scan),
        "responseSchema" | "response_schema" | "responseJsonSchema" | "response_json_schema" => {
            weigh_json(scan, &mut draft.weight).map_err(Stop::from)
        }
        _ => scan.pass(),
    })?;
    Ok(())
}
