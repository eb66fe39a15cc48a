//! Anthropic messages, and the billing block that one client puts before its system prompt.

use std::ops::Range;

use super::weigh::{weigh, weigh_json};
use super::{Draft, Place, Stop, field};
use crate::estimate::Weight;
use crate::scan::{Bad, Peek, Scan};

/// How the text of the billing block starts.
pub(crate) const BILLING: &str = "x-anthropic-billing-header:";

pub(super) fn member<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>, name: &str) -> Result<(), Stop> {
    match name {
        "messages" => {
            if draft.messages {
                return Err(field("messages", "is given twice"));
            }
            draft.messages = scan.peek()? != Peek::Null;
            draft.places.set(Place::Messages, scan);
            weigh(scan, &mut draft.weight)?;
        }
        "system" => {
            draft.places.set(Place::System, scan);
            system(draft, scan)?;
        }
        "tools" => {
            draft.places.set(Place::Tools, scan);
            weigh_json(scan, &mut draft.weight)?;
        }
        "output_config" => weigh_json(scan, &mut draft.weight)?,
        "max_tokens" => draft.read_max(scan)?,
        _ => {
            scan.skip()?;
        }
    }
    Ok(())
}

fn system<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>) -> Result<(), Stop> {
    if scan.peek()? != Peek::Array {
        return Ok(weigh(scan, &mut draft.weight)?);
    }
    let mut before = None;
    let mut billing: Option<Range<usize>> = None;
    let mut last = false;
    scan.array::<Bad>(|scan| {
        let start = scan.at();
        if let (true, Some(block)) = (last, &mut billing) {
            block.end = start;
            last = false;
        }
        let marked = block(scan, &mut draft.weight)?;
        if billing.is_none() && marked {
            billing = Some(start..scan.at());
            last = true;
        } else if billing.is_none() {
            before = Some(scan.at());
        }
        Ok(())
    })?;
    // The comma behind the block has gone with it; behind the last one stands none, so the one before goes.
    if let (true, Some(block), Some(end)) = (last, &mut billing, before) {
        block.start = end;
    }
    draft.billing = billing;
    Ok(())
}

/// Weighs one block and tells whether it is the billing block.
fn block(scan: &mut Scan<'_>, weight: &mut Weight) -> Result<bool, Bad> {
    if scan.peek()? != Peek::Object {
        weigh(scan, weight)?;
        return Ok(false);
    }
    let mut marked = false;
    scan.object(|scan, key| {
        if key.name() != "text" || scan.peek()? != Peek::Text {
            return scan.pass();
        }
        let text = scan.text()?;
        marked = text.raw.starts_with(BILLING);
        if !marked {
            weight.text_bytes += text.bytes;
        }
        Ok(())
    })?;
    Ok(marked)
}
