//! What a prompt weighs: text counted, media flat, names of roles and identities not at all.

use crate::estimate::Weight;
use crate::scan::{Bad, Peek, Scan};

/// Members that carry a picture, a sound or a document.
const MEDIA: [&str; 11] = [
    "image_url",
    "input_audio",
    "file",
    "file_data",
    "file_url",
    "inlineData",
    "inline_data",
    "fileData",
    "image",
    "audio_url",
    "video_url",
];

/// Members that the model never sees as text.
const UNSEEN: [&str; 20] = [
    "role",
    "type",
    "id",
    "tool_call_id",
    "tool_use_id",
    "call_id",
    "item_id",
    "file_id",
    "signature",
    "encrypted_content",
    "thoughtSignature",
    "thought_signature",
    "cache_control",
    "status",
    "mimeType",
    "mime_type",
    "media_type",
    "detail",
    "logprobs",
    "annotations",
];

/// Members that the model sees as JSON, keys and all.
const JSON: [&str; 4] = ["arguments", "args", "parameters", "schema"];

/// Adds what one value, of whatever shape, weighs.
pub(super) fn weigh(scan: &mut Scan<'_>, weight: &mut Weight) -> Result<(), Bad> {
    match scan.peek()? {
        Peek::Text => weight.text_bytes += scan.text()?.bytes,
        Peek::Object => weigh_object(scan, weight)?,
        Peek::Array => {
            scan.array(|scan| {
                if scan.peek()? == Peek::Number {
                    weight.tokens += 1;
                }
                weigh(scan, weight)
            })?;
        }
        Peek::Number | Peek::Bool | Peek::Null => {
            scan.skip()?;
        }
    }
    Ok(())
}

/// Adds what a value weighs as it is written.
pub(super) fn weigh_json(scan: &mut Scan<'_>, weight: &mut Weight) -> Result<(), Bad> {
    weight.text_bytes += scan.skip()?.len() as u64;
    Ok(())
}

fn weigh_object(scan: &mut Scan<'_>, weight: &mut Weight) -> Result<(), Bad> {
    scan.object(|scan, key| {
        let name = key.name();
        let name = name.as_ref();
        if name == "source" {
            weigh_source(scan, weight)
        } else if name == "images" {
            weigh_images(scan, weight)
        } else if MEDIA.contains(&name) {
            if scan.peek()? != Peek::Null {
                weight.media += 1;
            }
            scan.pass()
        } else if UNSEEN.contains(&name) {
            scan.pass()
        } else if JSON.contains(&name) {
            weigh_json(scan, weight)
        } else {
            weigh(scan, weight)
        }
    })?;
    Ok(())
}

/// Ollama's list of pictures.
pub(super) fn weigh_images(scan: &mut Scan<'_>, weight: &mut Weight) -> Result<(), Bad> {
    if scan.peek()? != Peek::Array {
        return scan.pass();
    }
    scan.array(|scan| {
        weight.media += 1;
        scan.pass()
    })?;
    Ok(())
}

/// Anthropic's source of a picture or a document, which may hold plain text.
fn weigh_source(scan: &mut Scan<'_>, weight: &mut Weight) -> Result<(), Bad> {
    if scan.peek()? != Peek::Object {
        return weigh(scan, weight);
    }
    let mut bytes = 0;
    let mut plain = false;
    scan.object(|scan, key| {
        if scan.peek()? != Peek::Text {
            return scan.pass();
        }
        let text = scan.text()?;
        match key.name().as_ref() {
            "type" => plain = text.raw == "text",
            "data" => bytes = text.bytes,
            _ => {}
        }
        Ok::<(), Bad>(())
    })?;
    if plain {
        weight.text_bytes += bytes;
    } else {
        weight.media += 1;
    }
    Ok(())
}
