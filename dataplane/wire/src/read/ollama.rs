//! Ollama: chat, generate, embed, show; streams unless told not to.

use super::weigh::{weigh, weigh_images, weigh_json};
use super::{Draft, Stop, field, model_text};
use crate::scan::{Peek, Scan};

pub(super) fn member<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>, name: &str) -> Result<(), Stop> {
    match name {
        "name" => {
            if draft.name.is_some() {
                return Err(field("name", "is given twice"));
            }
            if scan.peek()? == Peek::Null {
                scan.skip()?;
            } else {
                draft.name = Some(model_text(scan, "name")?);
            }
        }
        "messages" | "prompt" | "system" | "suffix" | "input" | "context" => weigh(scan, &mut draft.weight)?,
        "images" => weigh_images(scan, &mut draft.weight)?,
        "tools" => weigh_json(scan, &mut draft.weight)?,
        "format" if scan.peek()? == Peek::Object => weigh_json(scan, &mut draft.weight)?,
        "options" if scan.peek()? == Peek::Object => {
            scan.object::<Stop>(|scan, key| match key.name().as_ref() {
                "num_predict" => draft.read_max(scan),
                _ => scan.pass(),
            })?;
        }
        _ => {
            scan.skip()?;
        }
    }
    Ok(())
}
