//! What messages hold: text, or a list of parts.

use std::borrow::Cow;

use super::json::{Style, json, reprint};
use super::tool::{Call, value};
use super::{Page, Role, Stop};
use crate::read::BILLING;
use crate::scan::{Bad, Peek, Scan, Text};

/// A part as it was read, of any dialect.
#[derive(Default)]
struct Part<'a> {
    kind: Option<Text<'a>>,
    text: Option<Text<'a>>,
    thought: bool,
    call: Call<'a>,
    /// What a tool answered, wrapped or not.
    content: Option<Scan<'a>>,
    response: Option<Scan<'a>>,
    media: Option<Scan<'a>>,
    /// There is something in it that has no name here.
    other: bool,
}

impl<'a> Part<'a> {
    fn member(&mut self, scan: &mut Scan<'a>, name: &str) -> Result<(), Bad> {
        let is_text = scan.peek()? == Peek::Text;
        match name {
            "type" if is_text => self.kind = Some(scan.text()?),
            "text" if is_text => self.text = Some(scan.text()?),
            "refusal" if is_text && self.text.is_none() => self.text = Some(scan.text()?),
            "thought" => {
                let span = scan.skip()?;
                self.thought = scan.slice(&span) == "true";
            }
            "name" if is_text => self.call.name = Some(scan.text()?),
            "input" => self.call.arguments = value(scan)?,
            "content" => self.content = value(scan)?,
            "functionCall" | "function_call" => self.call.read(scan)?,
            "functionResponse" | "function_response" => self.response = value(scan)?,
            "image_url" | "input_audio" | "file" | "file_data" | "file_url" | "file_id" | "source"
            | "inlineData" | "inline_data" | "fileData" | "image" | "audio_url" | "video_url" => {
                self.media = value(scan)?.or(self.media);
            }
            "thoughtSignature" | "thought_signature" | "cache_control" => return scan.pass(),
            _ => {
                self.other = true;
                return scan.pass();
            }
        }
        Ok(())
    }

    fn kind(&self) -> Cow<'a, str> {
        self.kind.as_ref().map_or(Cow::Borrowed(""), Text::name)
    }

    fn is_billing(&self) -> bool {
        self.text.as_ref().is_some_and(|text| text.raw.starts_with(BILLING))
    }

    /// Reasoning is not sent to the model again, or only while a turn of it lasts.
    fn is_reasoning(&self, kind: &str) -> bool {
        self.thought || matches!(kind, "thinking" | "redacted_thinking" | "reasoning" | "reasoning_text")
    }
}

impl<'a> Page<'a, '_> {
    /// Text, or a list of parts.
    pub(super) fn content(&mut self, scan: &mut Scan<'a>, role: Role) -> Result<(), Stop> {
        match scan.peek()? {
            Peek::Text => {
                let text = scan.text()?;
                self.text(&text, role)
            }
            Peek::Array => {
                scan.array(|scan| self.part(scan, role))?;
                Ok(())
            }
            _ => Ok(scan.pass::<Bad>()?),
        }
    }

    fn part(&mut self, scan: &mut Scan<'a>, role: Role) -> Result<(), Stop> {
        let whole = *scan;
        match scan.peek()? {
            Peek::Text => {
                let text = scan.text()?;
                return self.text(&text, role);
            }
            Peek::Object => {}
            _ => return Ok(scan.pass::<Bad>()?),
        }
        let mut part = Part::default();
        scan.object::<Bad>(|scan, key| part.member(scan, &key.name()))?;
        let kind = part.kind();
        if part.is_reasoning(&kind) || (role == Role::System && part.is_billing()) {
            return Ok(());
        }
        // Results hold no results, so that nothing is read over and over.
        let nested = role == Role::Tool;
        if kind.ends_with("tool_result") && !nested {
            self.result(part.content)
        } else if let (Some(response), false) = (part.response, nested) {
            self.response(response)
        } else if let (Some(text), None) = (&part.text, part.media) {
            self.text(text, role)
        } else if let (Some(mut media), true) = (part.media, kind != "search_result") {
            self.media(&mut media, role)
        } else if part.call.name.is_some() {
            self.call(part.call)
        } else if part.kind.is_some() || part.other {
            self.begin(role, b'j')?;
            json(&mut self.chain, &mut { whole }, Style::Resolved)?;
            self.end(role)
        } else {
            Ok(())
        }
    }

    /// What a tool answered.
    pub(super) fn result(&mut self, content: Option<Scan<'a>>) -> Result<(), Stop> {
        self.begin(Role::Tool, b'r')?;
        if let Some(mut content) = content {
            match content.peek()? {
                Peek::Text | Peek::Array => self.content(&mut content, Role::Tool)?,
                _ => self.written(&mut content)?,
            }
        }
        self.chain.close()
    }

    /// The same from Gemini: an object, which stands for the text in it where it has but one member.
    fn response(&mut self, mut scan: Scan<'a>) -> Result<(), Stop> {
        let mut answer = None;
        if scan.peek()? == Peek::Object {
            scan.object::<Bad>(|scan, key| match key.name().as_ref() {
                "response" => {
                    answer = value(scan)?;
                    Ok(())
                }
                _ => scan.pass(),
            })?;
        }
        let Some(answer) = answer else { return self.result(None) };
        let (mut inner, mut members, mut only) = (answer, 0, None);
        if inner.peek()? == Peek::Object {
            inner.object::<Bad>(|scan, key| {
                members += 1;
                if matches!(key.name().as_ref(), "output" | "result" | "error") {
                    only = value(scan)?;
                    return Ok(());
                }
                scan.pass()
            })?;
        }
        let mut seen = only.filter(|_| members == 1).unwrap_or(answer);
        if seen.peek()? == Peek::Text {
            return self.result(Some(seen));
        }
        self.begin(Role::Tool, b'r')?;
        self.written(&mut seen)?;
        self.chain.close()
    }

    /// A value that the model sees as text.
    fn written(&mut self, scan: &mut Scan<'a>) -> Result<(), Stop> {
        self.begin(Role::Tool, b'x')?;
        let mut text = Vec::new();
        reprint(scan, &mut text)?;
        self.chain.quoted(&text)
    }
}
