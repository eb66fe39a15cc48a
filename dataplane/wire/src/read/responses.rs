//! OpenAI responses.

use super::weigh::{weigh, weigh_json};
use super::{Draft, Place, Stop};
use crate::scan::Scan;

pub(super) fn member<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>, name: &str) -> Result<(), Stop> {
    match name {
        "input" | "instructions" => {
            draft.places.set(if name == "input" { Place::Input } else { Place::System }, scan);
            weigh(scan, &mut draft.weight)?;
        }
        "tools" => {
            draft.places.set(Place::Tools, scan);
            weigh_json(scan, &mut draft.weight)?;
        }
        "text" => weigh_json(scan, &mut draft.weight)?,
        "max_output_tokens" => draft.read_max(scan)?,
        _ => {
            scan.skip()?;
        }
    }
    Ok(())
}
