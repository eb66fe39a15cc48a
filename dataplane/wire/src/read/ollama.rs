//! Ollama: chat, generate, embed, show; streams unless told not to.

use super::weigh::{weigh, weigh_images, weigh_json};
use super::{Draft, Place, Stop, field, model_text};
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
        "images" => {
            draft.places.set(Place::Images, scan);
            weigh_images(scan, &mut draft.weight)?;
        }
        "tools" => {
            draft.places.set(Place::Tools, scan);
            weigh_json(scan, &mut draft.weight)?;
        }
        "raw" => {
            draft.places.set(Place::Raw, scan);
            scan.skip()?;
        }
        "format" if scan.peek()? == Peek::Object => weigh_json(scan, &mut draft.weight)?,
        "options" if scan.peek()? == Peek::Object => {
            scan.object::<Stop>(|scan, key| match key.name().as_ref() {
                "num_predict" => draft.read_max(scan),
                _ => scan.pass(),
            })?;
        }
        _ => match text(name) {
            Some(place) => {
                draft.places.set(place, scan);
                weigh(scan, &mut draft.weight)?;
            }
            None => {
                scan.skip()?;
            }
        },
    }
    Ok(())
}

fn text(name: &str) -> Option<Place> {
    Some(match name {
        "messages" => Place::Messages,
        "prompt" => Place::Prompt,
        "system" => Place::System,
        "suffix" => Place::Suffix,
        "input" => Place::Input,
        "context" => Place::Context,
        _ => return None,
    })
}
