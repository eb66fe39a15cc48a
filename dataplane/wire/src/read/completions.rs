//! OpenAI completions: text or tokens, one prompt or many.

use super::chat::{choices, stream_options};
use super::weigh::weigh;
use super::{Draft, Place, Stop};
use crate::scan::Scan;

pub(super) fn member<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>, name: &str) -> Result<(), Stop> {
    match name {
        "prompt" | "suffix" => {
            draft.places.set(if name == "prompt" { Place::Prompt } else { Place::Suffix }, scan);
            weigh(scan, &mut draft.weight)?;
        }
        "max_tokens" => draft.read_max(scan)?,
        "n" => choices(draft, scan)?,
        "stream_options" => stream_options(draft, scan)?,
        _ => {
            scan.skip()?;
        }
    }
    Ok(())
}
