//! OpenAI chat completions, and the body of the responses dialect that one client sends there.

use super::weigh::{weigh, weigh_json};
use super::{Draft, Place, Stop, UsageAsk, field};
use crate::scan::{Peek, Scan};

pub(super) fn member<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>, name: &str) -> Result<(), Stop> {
    match name {
        "messages" => {
            if draft.messages {
                return Err(field("messages", "is given twice"));
            }
            let null = scan.peek()? == Peek::Null;
            draft.messages = !null;
            draft.places.set(Place::Messages, scan);
            weigh(scan, &mut draft.weight)?;
        }
        "input" => {
            draft.input = scan.peek()? != Peek::Null;
            draft.places.set(Place::Input, scan);
            weigh(scan, &mut draft.weight)?;
        }
        "instructions" => {
            draft.places.set(Place::System, scan);
            weigh(scan, &mut draft.weight)?;
        }
        "tools" | "functions" => {
            draft.places.set(if name == "tools" { Place::Tools } else { Place::Functions }, scan);
            weigh_json(scan, &mut draft.weight)?;
        }
        "response_format" | "text" => weigh_json(scan, &mut draft.weight)?,
        "max_completion_tokens" | "max_output_tokens" => draft.read_max(scan)?,
        "max_tokens" if draft.max_output.is_none() => draft.read_max(scan)?,
        "n" => choices(draft, scan)?,
        "stream_options" => stream_options(draft, scan)?,
        _ => {
            scan.skip()?;
        }
    }
    Ok(())
}

/// How many answers are asked for at once.
pub(super) fn choices<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>) -> Result<(), Stop> {
    let span = scan.skip()?;
    draft.choices = scan.slice(&span).parse().unwrap_or(1).max(1);
    Ok(())
}

/// Finds whether usage is asked for and, if not, the splice that asks.
pub(super) fn stream_options<'a>(draft: &mut Draft<'a>, scan: &mut Scan<'a>) -> Result<(), Stop> {
    if draft.usage.is_some() {
        return Err(field("stream_options", "is given twice"));
    }
    let missing = |at, with| Some(UsageAsk::Missing { at, with });
    match scan.peek()? {
        Peek::Null => draft.usage = missing(scan.skip()?, r#"{"include_usage":true}"#),
        Peek::Object => {
            let mut empty = true;
            let mut usage = None;
            let span = scan.object::<Stop>(|scan, key| {
                empty = false;
                if key.name() != "include_usage" {
                    scan.skip()?;
                    return Ok(());
                }
                if usage.is_some() {
                    return Err(field("stream_options.include_usage", "is given twice"));
                }
                let span = scan.skip()?;
                usage = match scan.slice(&span) {
                    "false" | "null" => missing(span, "true"),
                    _ => Some(UsageAsk::Asked),
                };
                Ok(())
            })?;
            let at = span.start + 1..span.start + 1;
            let splice = if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            draft.usage = usage.or(missing(at, splice));
        }
        // Anything else is for the server to refuse.
        _ => {
            scan.skip()?;
            draft.usage = Some(UsageAsk::Asked);
        }
    }
    Ok(())
}
