//! Messages of a conversation, as every dialect writes them, and the items of one.

use super::json::{Style, json};
use super::tool::{Call, value};
use super::{Page, Role, Stop};
use crate::scan::{Bad, Peek, Scan, Text};

/// A message or an item as it was read.
#[derive(Default)]
struct Message<'a> {
    kind: Option<Text<'a>>,
    role: Option<Text<'a>>,
    content: Option<Scan<'a>>,
    /// The content is Gemini's, whose results say themselves what they are.
    parts: bool,
    refusal: Option<Text<'a>>,
    calls: Option<Scan<'a>>,
    images: Option<Scan<'a>>,
    /// Of an item, or the older form of calls in a message.
    call: Call<'a>,
    output: Option<Scan<'a>>,
}

impl<'a> Message<'a> {
    fn member(&mut self, scan: &mut Scan<'a>, name: &str) -> Result<(), Bad> {
        let is_text = scan.peek()? == Peek::Text;
        match name {
            "role" if is_text => self.role = Some(scan.text()?),
            "content" | "parts" => {
                self.content = value(scan)?;
                self.parts = name == "parts";
            }
            "tool_calls" => self.calls = value(scan)?,
            "images" => self.images = value(scan)?,
            "refusal" if is_text => self.refusal = Some(scan.text()?),
            "type" if is_text => self.kind = Some(scan.text()?),
            "function_call" => self.call.read(scan)?,
            _ => return scan.pass(),
        }
        Ok(())
    }

    fn item(&mut self, scan: &mut Scan<'a>, name: &str) -> Result<(), Bad> {
        match name {
            "name" if scan.peek()? == Peek::Text => self.call.name = Some(scan.text()?),
            "arguments" => self.call.arguments = value(scan)?,
            "input" => self.call.input = value(scan)?,
            "output" => self.output = value(scan)?,
            _ => return self.member(scan, name),
        }
        Ok(())
    }

    fn role(&self) -> Role {
        match self.role.as_ref().map_or("user".into(), Text::name).as_ref() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "function" if self.parts => Role::User,
            "assistant" | "model" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => Role::Other,
        }
    }
}

impl<'a> Page<'a, '_> {
    pub(super) fn messages(&mut self, mut scan: Scan<'a>) -> Result<(), Stop> {
        if scan.peek()? != Peek::Array {
            return Ok(());
        }
        scan.array(|scan| self.message(scan, None))?;
        Ok(())
    }

    /// A message, or content without the list around it; `role` where it tells none of its own.
    pub(super) fn message(&mut self, scan: &mut Scan<'a>, role: Option<Role>) -> Result<(), Stop> {
        if scan.peek()? != Peek::Object {
            return Ok(scan.pass::<Bad>()?);
        }
        let mut message = Message::default();
        scan.object::<Bad>(|scan, key| message.member(scan, &key.name()))?;
        let role = role.unwrap_or_else(|| message.role());
        self.said(message, role)
    }

    fn said(&mut self, message: Message<'a>, role: Role) -> Result<(), Stop> {
        if role == Role::Tool {
            return self.result(message.content);
        }
        if let Some(mut content) = message.content {
            self.content(&mut content, role)?;
        }
        if let Some(refusal) = &message.refusal {
            self.text(refusal, role)?;
        }
        if let Some(mut images) = message.images {
            self.images(&mut images, role)?;
        }
        if let Some(mut calls) = message.calls {
            self.calls(&mut calls)?;
        }
        self.call(message.call)
    }

    /// The items of the responses dialect, or one text.
    pub(super) fn input(&mut self, mut scan: Scan<'a>) -> Result<(), Stop> {
        if scan.peek()? != Peek::Array {
            return self.content(&mut scan, Role::User);
        }
        scan.array(|scan| self.item(scan))?;
        Ok(())
    }

    fn item(&mut self, scan: &mut Scan<'a>) -> Result<(), Stop> {
        let whole = *scan;
        if scan.peek()? != Peek::Object {
            return Ok(scan.pass::<Bad>()?);
        }
        let mut item = Message::default();
        scan.object::<Bad>(|scan, key| item.item(scan, &key.name()))?;
        let kind = item.kind.as_ref().map_or("message".into(), Text::name);
        match kind.as_ref() {
            "reasoning" => Ok(()),
            kind if kind.ends_with("call_output") => self.result(item.output),
            kind if kind.ends_with("_call") && item.call.name.is_some() => self.call(item.call),
            "message" => {
                let role = item.role();
                self.said(item, role)
            }
            // What a server's own tools did, and what only the server can read.
            _ => {
                self.begin(Role::Assistant, b'j')?;
                json(&mut self.chain, &mut { whole }, Style::Resolved)
            }
        }
    }
}
