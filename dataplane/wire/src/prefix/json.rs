//! Values of JSON: reprinted without white space, so that an object and a string that holds one render alike.

use super::chain::{Chain, QUOTE};
use super::unescape::{SLACK_BYTES, resolve};
use super::{Page, Stop};
use crate::scan::{Bad, Peek, Scan, Text};

/// How strings are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// Escapes resolved.
    Resolved,
    /// The same; names of types in lower case, since one dialect has them in capitals.
    Schema,
}

/// Names of types in a schema are no longer.
const TYPE_BYTES_MAX: usize = 16;

/// Renders the value that comes next.
pub(super) fn json(chain: &mut Chain<'_>, scan: &mut Scan<'_>, style: Style) -> Result<(), Stop> {
    match scan.peek()? {
        Peek::Text => {
            let text = scan.text()?;
            string(chain, &text)
        }
        Peek::Object => {
            chain.text(b"{")?;
            let mut first = true;
            scan.object(|scan, key| {
                comma(chain, &mut first)?;
                string(chain, &key)?;
                chain.text(b":")?;
                if style == Style::Schema && key.name() == "type" && scan.peek()? == Peek::Text {
                    return name(chain, &scan.text()?);
                }
                json(chain, scan, style)
            })?;
            chain.text(b"}")
        }
        Peek::Array => {
            chain.text(b"[")?;
            let mut first = true;
            scan.array(|scan| {
                comma(chain, &mut first)?;
                json(chain, scan, style)
            })?;
            chain.text(b"]")
        }
        Peek::Number | Peek::Bool | Peek::Null => {
            let span = scan.skip()?;
            chain.text(scan.slice(&span).as_bytes())
        }
    }
}

/// Reprints the value that comes next, strings as they are in the body.
pub(super) fn reprint(scan: &mut Scan<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    let separate = |out: &mut Vec<u8>, first: &mut bool| {
        if !std::mem::take(first) {
            out.push(b',');
        }
    };
    let mut first = true;
    match scan.peek()? {
        Peek::Object => {
            out.push(b'{');
            scan.object(|scan, key| {
                separate(out, &mut first);
                out.extend_from_slice(scan.slice(&key.span).as_bytes());
                out.push(b':');
                reprint(scan, out)
            })?;
            out.push(b'}');
        }
        Peek::Array => {
            out.push(b'[');
            scan.array(|scan| {
                separate(out, &mut first);
                reprint(scan, out)
            })?;
            out.push(b']');
        }
        _ => {
            let span = scan.skip()?;
            out.extend_from_slice(scan.slice(&span).as_bytes());
        }
    }
    Ok(())
}

fn comma(chain: &mut Chain<'_>, first: &mut bool) -> Result<(), Stop> {
    if std::mem::take(first) { Ok(()) } else { chain.text(b",") }
}

fn string(chain: &mut Chain<'_>, text: &Text<'_>) -> Result<(), Stop> {
    chain.mark(&[QUOTE])?;
    chain.inner(text)?;
    chain.mark(&[QUOTE])
}

fn name(chain: &mut Chain<'_>, text: &Text<'_>) -> Result<(), Stop> {
    let mut lower = [0; TYPE_BYTES_MAX];
    let name = text.plain().filter(|plain| plain.len() <= TYPE_BYTES_MAX);
    let Some(name) = name else { return string(chain, text) };
    let lower = &mut lower[..name.len()];
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    chain.mark(&[QUOTE])?;
    chain.text(lower)?;
    chain.mark(&[QUOTE])
}

impl<'a> Page<'a, '_> {
    /// Arguments of a call: an object, or a string that holds one; none are an empty object. A string that holds no
    /// JSON stands for itself.
    pub(super) fn arguments(&mut self, scan: Option<Scan<'a>>) -> Result<(), Stop> {
        let Some(mut scan) = scan else { return self.chain.text(b"{}") };
        match scan.peek()? {
            Peek::Null => self.chain.text(b"{}"),
            Peek::Text => {
                let text = scan.text()?;
                if let Some(plain) = text.plain() {
                    return self.inner(plain);
                }
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.resize(scratch.len().max(text.raw.len() + SLACK_BYTES), 0);
                let (length, _) = resolve(text.raw.as_bytes(), &mut scratch, 0, usize::MAX);
                let rendered = self.inner(std::str::from_utf8(&scratch[..length]).unwrap_or_default());
                self.scratch = scratch;
                rendered
            }
            _ => json(&mut self.chain, &mut scan, Style::Resolved),
        }
    }

    /// JSON out of a string.
    fn inner(&mut self, text: &str) -> Result<(), Stop> {
        if text.trim_ascii().is_empty() {
            return self.chain.text(b"{}");
        }
        if is_json(text) {
            return json(&mut self.chain, &mut Scan::again(text, 0, &[]), Style::Resolved);
        }
        self.chain.mark(&[QUOTE])?;
        self.chain.text(text.as_bytes())?;
        self.chain.mark(&[QUOTE])
    }
}

/// Whether brackets and commas are; strings are not looked into, since models write their line ends unescaped.
fn is_json(text: &str) -> bool {
    let mut scan = Scan::again(text, 0, &[]);
    scan.pass::<Bad>().and_then(|()| scan.end()).is_ok()
}
