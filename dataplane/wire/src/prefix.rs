//! What the model will see, in one rendering for all dialects, as chained hashes: the prefix of a prompt.
//!
//! A conversation that changes its API keeps its blocks. The rendering is a sequence of parts: a mark (a byte that
//! no UTF-8 text holds, the role, the kind of part), then text, so that no two conversations render alike. A text is as a
//! string of JSON has it, with escapes only where there must be one, each in its shortest way: almost all hands write it
//! so, and it is hashed where it lies. Strings inside of JSON have their escapes resolved. In order:
//! system prompts that stand first, tools, messages. Rendered are texts; tool calls by name and arguments; results;
//! pictures, sounds and documents by the hash of their bytes or by their address. What servers drop, or what clients
//! change between the turns of one conversation, is left out: ids, cache marks, the billing block of one client,
//! reasoning, names of participants, options. So are the name of the model (a route's candidates have different
//! names for it; caches are mirrored per backend and model) and everything that steers decoding alone.
//!
//! Blocks end behind each system prompt, each part of the user, each result of a tool, the list of tools, and where
//! the assistant's turn ends; and, within these, after each [`BLOCK_BYTES`]. With `h_0` the salt, `h_i` is
//! `xxh3_64(bytes_i, seed = h_{i-1})`. Both are the same in all releases (vectors in `tests/data/prefix.txt`).

mod chain;
mod json;
mod media;
mod message;
mod part;
mod tool;
mod unescape;

use crate::dialect::Operation;
use crate::read::{Ask, Place, Places, places};
use crate::scan::{Bad, Peek, Scan, Text};
use chain::Chain;

/// A body gives at most this many blocks; what follows them is not looked at.
pub const BLOCKS_MAX: usize = 1024;

/// A block has at most this many bytes of rendering, which is 1024 tokens as [`estimate`](crate::estimate) counts.
pub const BLOCK_BYTES: usize = 4096;

/// A piece of a prompt's rendering, chained to all before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Of this piece and of all before it.
    pub hash: u64,
    /// Its length in tokens, estimated.
    pub tokens: u32,
    /// Whether it is the assistant's, so that it may be an answer that was given before. All blocks of a longer
    /// answer are; what follows an answer never is.
    pub own: bool,
}

/// Appends the blocks of the prompt in `body`; see [`Ask::blocks`] where it has been read already.
///
/// A body that is no request gives the blocks of what can be read of it.
pub fn blocks(operation: Operation, body: &[u8], salt: u64, out: &mut Vec<Block>) {
    let text = utf8(body);
    render(operation, &places(operation, text), text, salt, out);
}

impl Ask {
    /// Appends the blocks of the prompt in the `text` from which this was read: at most [`BLOCKS_MAX`], none where
    /// nothing is generated.
    ///
    /// Blocks of different salts have nothing in common, so that nobody can aim a prompt at another's blocks.
    pub fn blocks(&self, operation: Operation, text: &str, salt: u64, out: &mut Vec<Block>) {
        render(operation, &self.places, text, salt, out);
    }
}

/// The body up to the first byte that is no UTF-8.
fn utf8(body: &[u8]) -> &str {
    simdutf8::basic::from_utf8(body).unwrap_or_else(|_| valid(body))
}

#[cold]
fn valid(body: &[u8]) -> &str {
    let end = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
    std::str::from_utf8(&body[..end]).unwrap_or_default()
}

fn render<'a>(operation: Operation, places: &'a Places, text: &'a str, salt: u64, out: &mut Vec<Block>) {
    if !operation.generates() {
        return;
    }
    let tools = [Place::Tools, Place::Functions].map(|place| places.at(place, text));
    let mut page = Page { chain: Chain::new(salt, text.len(), out), tools: Some(tools), scratch: Vec::new() };
    // A fault of the text and the last of the blocks end the rendering alike.
    let _ = page.whole(operation, places, text);
}

/// Whose words a part holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    System = b's' as isize,
    User = b'u' as isize,
    Assistant = b'a' as isize,
    Tool = b't' as isize,
    /// A role that no dialect knows.
    Other = b'o' as isize,
    /// Text that goes to the model as it is.
    Raw = b'p' as isize,
}

/// Why rendering ends early.
enum Stop {
    Bad,
    Full,
}

impl From<Bad> for Stop {
    fn from(_: Bad) -> Self {
        Stop::Bad
    }
}

/// A rendering on its way into the chain.
struct Page<'a, 'o> {
    chain: Chain<'o>,
    /// Lists of tools that are still to come, behind the system prompts that stand first.
    tools: Option<[Option<Scan<'a>>; 2]>,
    /// For texts that must be read again once their escapes are resolved.
    scratch: Vec<u8>,
}

impl<'a> Page<'a, '_> {
    fn whole(&mut self, operation: Operation, places: &'a Places, text: &'a str) -> Result<(), Stop> {
        let at = |place| places.at(place, text);
        if let Some(system) = at(Place::System) {
            self.system(system)?;
        }
        if matches!(operation, Operation::Completions | Operation::OllamaGenerate) {
            self.prompt(operation, places, text)?;
        } else if let Some(messages) = at(Place::Messages) {
            self.messages(messages)?;
        } else if let Some(input) = at(Place::Input) {
            self.input(input)?;
        }
        self.tools()?;
        self.chain.close()
    }

    /// A system prompt that is no message: text, parts, or a content with parts in it.
    fn system(&mut self, mut scan: Scan<'a>) -> Result<(), Stop> {
        match scan.peek()? {
            Peek::Object => self.message(&mut scan, Some(Role::System)),
            _ => self.content(&mut scan, Role::System),
        }
    }

    /// The prompt of operations without messages.
    fn prompt(&mut self, operation: Operation, places: &'a Places, text: &'a str) -> Result<(), Stop> {
        let at = |place| places.at(place, text);
        let raw = operation == Operation::Completions || at(Place::Raw).is_some_and(is_true);
        let role = if raw { Role::Raw } else { Role::User };
        if let Some(mut context) = at(Place::Context).filter(|_| operation == Operation::OllamaGenerate) {
            self.tokens(&mut context, Role::Raw)?;
        }
        if let Some(mut prompt) = at(Place::Prompt) {
            self.texts(&mut prompt, role)?;
        }
        if let Some(mut images) = at(Place::Images) {
            self.images(&mut images, role)?;
        }
        if let Some(mut suffix) = at(Place::Suffix) {
            self.texts(&mut suffix, role)?;
        }
        Ok(())
    }

    /// One text, as characters or as tokens; of several the first, since each has an answer of its own.
    fn texts(&mut self, scan: &mut Scan<'a>, role: Role) -> Result<(), Stop> {
        if scan.peek()? != Peek::Array {
            return self.content(scan, role);
        }
        let mut inner = *scan;
        let mut first = None;
        inner.array::<Bad>(|scan| {
            first.get_or_insert(*scan);
            scan.pass()
        })?;
        let Some(mut first) = first else { return Ok(()) };
        match first.peek()? {
            Peek::Number => self.tokens(scan, role),
            Peek::Array => self.tokens(&mut first, role),
            _ => self.content(&mut first, role),
        }
    }

    /// A text given as the numbers of its tokens.
    fn tokens(&mut self, scan: &mut Scan<'a>, role: Role) -> Result<(), Stop> {
        if scan.peek()? != Peek::Array {
            return Ok(scan.pass::<Bad>()?);
        }
        self.begin(role, b'n')?;
        scan.array(|scan| {
            let span = scan.skip()?;
            self.chain.token(scan.slice(&span))
        })?;
        self.end(role)
    }

    /// Opens a part; the tools go before the first that is no system prompt.
    fn begin(&mut self, role: Role, kind: u8) -> Result<(), Stop> {
        if role != Role::System {
            self.tools()?;
        }
        self.chain.turn(role == Role::Assistant)?;
        self.chain.mark(&[chain::MARK, role as u8, kind])
    }

    /// Closes a part. The assistant's block goes on to the end of its turn, a tool's to that of the result.
    fn end(&mut self, role: Role) -> Result<(), Stop> {
        match role {
            Role::Assistant | Role::Tool => Ok(()),
            _ => self.chain.close(),
        }
    }

    /// A text; an empty one is none.
    fn text(&mut self, text: &Text<'a>, role: Role) -> Result<(), Stop> {
        if text.raw.is_empty() {
            return Ok(());
        }
        self.begin(role, b'x')?;
        self.chain.string(text)?;
        self.end(role)
    }
}

fn is_true(mut scan: Scan<'_>) -> bool {
    scan.skip().is_ok_and(|span| scan.slice(&span) == "true")
}
