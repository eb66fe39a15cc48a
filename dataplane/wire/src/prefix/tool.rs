//! Definitions of tools, and calls of them.

use super::chain::QUOTE;
use super::json::{Style, json};
use super::{Page, Role, Stop};
use crate::scan::{Bad, Peek, Scan, Text};

/// A tool, as every dialect has it under some name.
#[derive(Default)]
struct Tool<'a> {
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    /// What the arguments must look like.
    schema: Option<Scan<'a>>,
    /// The same for tools that take text.
    format: Option<Scan<'a>>,
}

impl<'a> Page<'a, '_> {
    /// The lists of tools, once.
    pub(super) fn tools(&mut self) -> Result<(), Stop> {
        let Some(lists) = self.tools.take() else { return Ok(()) };
        for mut list in lists.into_iter().flatten() {
            if list.peek()? == Peek::Array {
                list.array(|scan| self.tool(scan))?;
            }
        }
        self.chain.close()
    }

    /// One definition; what has no name (a tool of the server's own) renders as it is written.
    fn tool(&mut self, scan: &mut Scan<'a>) -> Result<(), Stop> {
        let whole = *scan;
        if scan.peek()? != Peek::Object {
            return Ok(scan.pass::<Bad>()?);
        }
        let mut tool = Tool::default();
        let mut listed = false;
        scan.object(|scan, key| match key.name().as_ref() {
            "function" | "custom" if scan.peek()? == Peek::Object => {
                scan.object::<Bad>(|scan, key| tool.member(scan, &key.name()))?;
                Ok::<(), Stop>(())
            }
            "functionDeclarations" | "function_declarations" if scan.peek()? == Peek::Array => {
                listed = true;
                scan.array(|scan| self.tool(scan))?;
                Ok(())
            }
            name => Ok(tool.member(scan, name)?),
        })?;
        if listed {
            return Ok(());
        }
        let Some(name) = &tool.name else {
            self.mark(b'd')?;
            return json(&mut self.chain, &mut { whole }, Style::Schema);
        };
        self.mark(b'd')?;
        self.chain.string(name)?;
        if let Some(text) = &tool.description {
            self.mark(b'e')?;
            self.chain.string(text)?;
        }
        for (kind, value) in [(b'j', tool.schema), (b'k', tool.format)] {
            if let Some(mut value) = value {
                self.mark(kind)?;
                json(&mut self.chain, &mut value, Style::Schema)?;
            }
        }
        Ok(())
    }

    fn mark(&mut self, kind: u8) -> Result<(), Stop> {
        self.chain.mark(&[super::chain::MARK, b'd', kind])
    }

    /// The list of calls in a message of the assistant.
    pub(super) fn calls(&mut self, scan: &mut Scan<'a>) -> Result<(), Stop> {
        if scan.peek()? != Peek::Array {
            return Ok(scan.pass::<Bad>()?);
        }
        scan.array(|scan| {
            let mut call = Call::default();
            call.read(scan)?;
            self.call(call)
        })?;
        Ok(())
    }

    /// One call.
    pub(super) fn call(&mut self, call: Call<'a>) -> Result<(), Stop> {
        let Some(name) = &call.name else { return Ok(()) };
        self.begin(Role::Assistant, b'c')?;
        self.chain.string(name)?;
        self.chain.mark(&[QUOTE])?;
        match call.input {
            Some(mut input) => {
                // The only argument of a tool that takes text, as dialects without such tools have it.
                self.chain.text(b"{")?;
                self.chain.mark(&[QUOTE])?;
                self.chain.text(b"input")?;
                self.chain.mark(&[QUOTE])?;
                self.chain.text(b":")?;
                json(&mut self.chain, &mut input, Style::Resolved)?;
                self.chain.text(b"}")
            }
            None => self.arguments(call.arguments),
        }
    }
}

impl<'a> Tool<'a> {
    fn member(&mut self, scan: &mut Scan<'a>, name: &str) -> Result<(), Bad> {
        match name {
            "name" if scan.peek()? == Peek::Text => self.name = Some(scan.text()?),
            "description" if scan.peek()? == Peek::Text => self.description = Some(scan.text()?),
            "parameters" | "input_schema" | "parametersJsonSchema" | "parameters_json_schema" => {
                self.schema = value(scan)?;
            }
            "format" => self.format = value(scan)?,
            _ => return scan.pass(),
        }
        Ok(())
    }
}

/// A call of a tool, in a message or a part.
#[derive(Default)]
pub(super) struct Call<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) arguments: Option<Scan<'a>>,
    /// The text that a tool takes which takes no arguments.
    pub(super) input: Option<Scan<'a>>,
}

impl<'a> Call<'a> {
    /// Reads a call, or what wraps one.
    pub(super) fn read(&mut self, scan: &mut Scan<'a>) -> Result<(), Bad> {
        if scan.peek()? != Peek::Object {
            return scan.pass();
        }
        scan.object(|scan, key| match key.name().as_ref() {
            "function" | "custom" if scan.peek()? == Peek::Object => {
                scan.object::<Bad>(|scan, key| self.member(scan, &key.name()))?;
                Ok(())
            }
            name => self.member(scan, name),
        })?;
        Ok(())
    }

    fn member(&mut self, scan: &mut Scan<'a>, name: &str) -> Result<(), Bad> {
        match name {
            "name" if scan.peek()? == Peek::Text => self.name = Some(scan.text()?),
            "arguments" | "args" => self.arguments = value(scan)?,
            "input" => self.input = value(scan)?,
            _ => return scan.pass(),
        }
        Ok(())
    }
}

/// Passes over a value and gives a cursor before it; none before `null`.
pub(super) fn value<'a>(scan: &mut Scan<'a>) -> Result<Option<Scan<'a>>, Bad> {
    let null = scan.peek()? == Peek::Null;
    let before = *scan;
    scan.pass::<Bad>()?;
    Ok((!null).then_some(before))
}
