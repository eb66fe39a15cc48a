//! OpenAI embeddings: text or tokens, one input or many.

use super::weigh::weigh;
use super::{Draft, Stop};
use crate::scan::{Peek, Scan};

pub(super) fn member<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>, name: &str) -> Result<(), Stop> {
    match name {
        "input" => {
            draft.input = scan.peek()? != Peek::Null;
            weigh(scan, &mut draft.weight)?;
        }
        _ => {
            scan.skip()?;
        }
    }
    Ok(())
}
