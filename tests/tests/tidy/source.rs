//! A Rust file as the rules see it: its text, and its code without comments and literals.

use std::ops::Range;

/// One file of the tree.
pub struct Source {
    /// From the root of the workspace, with forward slashes.
    pub path: String,
    /// As it stands.
    pub text: String,
    /// The same, byte for byte, with comments and literals blanked: line numbers stay.
    pub code: String,
}

/// A function and its place.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
    /// Marked `#[test]`, `#[tokio::test]` or the like.
    pub is_test: bool,
}

/// A word of the code, and its place.
pub struct Word<'a> {
    pub text: &'a str,
    /// Code before and behind it on any line.
    pub before: &'a str,
    pub behind: &'a str,
    /// Between `use` and its semicolon.
    pub in_use: bool,
    pub line: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// Is it module `module` (such as `controlplane/src/plan`) or a part of it?
    pub fn within(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Every function with a body, from `fn` to the closing brace.
    pub fn functions(&self) -> Vec<Function> {
        let words = self.words();
        let mut functions = Vec::new();
        for pair in words.windows(2) {
            let [keyword, name] = pair else { continue };
            if keyword.text != "fn" || keyword.behind.trim_start().as_ptr() != name.text.as_ptr() {
                continue;
            }
            let start = self.code.len() - name.behind.len();
            let attributes = keyword.before.rsplit(['{', '}', ';']).next().unwrap_or_default();
            let is_test = ["#[test]", "::test]", "::test("].iter().any(|mark| attributes.contains(mark));
            if let Some(body) = body(&self.code, start) {
                let lines = self.code[start..body.end].matches('\n').count() + 1;
                functions.push(Function { name: name.text.to_owned(), line: keyword.line, lines, is_test });
            }
        }
        functions
    }

    /// The lines of `#[cfg(test)] mod …` blocks, counted from 1.
    pub fn test_lines(&self) -> Vec<Range<usize>> {
        let line_of = |at: usize| self.code[..at].matches('\n').count() + 1;
        let starts = self.code.match_indices("#[cfg(test)]").map(|(at, _)| at);
        let blocks = starts.filter_map(|at| body(&self.code, at).map(|body| (at, body.end)));
        blocks.map(|(start, end)| line_of(start)..line_of(end) + 1).collect()
    }

    /// The words of the code in order.
    pub fn words(&self) -> Vec<Word<'_>> {
        let code = self.code.as_str();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (mut words, mut at, mut line, mut in_use) = (Vec::new(), 0, 1, false);
        while let Some(c) = code[at..].chars().next() {
            if !is_word(c) {
                line += usize::from(c == '\n');
                in_use &= c != ';';
                at += c.len_utf8();
                continue;
            }
            let length = code[at..].find(|c| !is_word(c)).unwrap_or(code.len() - at);
            let (before, text, behind) = (&code[..at], &code[at..at + length], &code[at + length..]);
            in_use |= text == "use";
            words.push(Word { text, before, behind, in_use, line });
            at += length;
        }
        words
    }
}

impl Word<'_> {
    /// Does it name a crate or module here: `word::…`, or a leaf of a `use`?
    pub fn names_a_path(&self) -> bool {
        let behind = self.behind.trim_start();
        let leaf = self.in_use && (behind.starts_with([',', ';', '}']) || behind.starts_with("as "));
        !self.before.ends_with('.') && (behind.starts_with("::") || leaf)
    }

    /// Is it below a module of its own crate, so that it cannot be another crate?
    pub fn is_inner(&self) -> bool {
        ["crate::", "self::", "super::"].iter().any(|own| self.before.ends_with(own))
    }
}

/// The braces that open first behind `start`, outside of parentheses and brackets; none when a semicolon comes first.
fn body(code: &str, start: usize) -> Option<Range<usize>> {
    let (mut nested, mut braces, mut open) = (0_i32, 0_i32, None);
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            ';' if nested == 0 && open.is_none() => return None,
            '{' => {
                braces += 1;
                open.get_or_insert(start + at);
            }
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return open.map(|open| open..start + at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Comments, strings and characters as blanks; lines stay. Lifetimes stay too.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '"' => quoted(rest),
            '\'' => character(rest),
            'r' | 'b' | 'c' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(c);
            at += c.len_utf8();
        } else {
            code.extend(rest[..length].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            at += length;
        }
    }
    code
}

fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string that starts with its quote.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal, 0 for a lifetime or a label.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |end| end + 4),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// The length of a string with a prefix (`r"`, `br#"`, `b"`, `c"`, `b'`), 0 when it is none.
fn raw(rest: &str) -> usize {
    let prefix = rest.len() - rest.trim_start_matches(['r', 'b', 'c']).len();
    let behind = &rest[prefix..];
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    if prefix > 2 || !behind[hashes..].starts_with(['"', '\'']) {
        return 0;
    }
    if !rest[..prefix].contains('r') {
        let literal = if behind.starts_with('\'') { character(behind) } else { quoted(behind) };
        return if hashes == 0 && literal > 0 { prefix + literal } else { 0 };
    }
    if behind[hashes..].starts_with('\'') {
        return 0;
    }
    let open = prefix + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
}

#[test]
fn comments_and_literals_are_blanked() {
    for (text, code) in [
        ("a // b {\nc", "a       \nc"),
        ("a /* { /* } */ \n */ c", "a              \n    c"),
        (r#"f("{\"}") g"#, "f(      ) g"),
        ("r#\"{\"}\"# g", "         g"),
        ("br\"{\" b\"}\" b'{' g", "                g"),
        ("'{' '\\'' '\\u{7d}' 'a: loop {}", "                  'a: loop {}"),
        ("<'a>(x: &'a str)", "<'a>(x: &'a str)"),
        ("bar(\"x\")", "bar(   )"),
        ("r#type", "r#type"),
    ] {
        assert_eq!(blank(text), code, "{text}");
    }
}

#[test]
fn functions_are_measured_by_their_braces() {
    let text = "trait T { fn a(&self); fn b() -> [u8; 2] {\n\n} }\nfn c(f: fn(u8) -> u8) where T: U {\n if x { '}' } else { \"}\" }\n}\n";
    let found: Vec<_> =
        Source::new("a.rs", text).functions().into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("b".to_owned(), 1, 3), ("c".to_owned(), 4, 3)]);
}

#[test]
fn test_blocks_are_found() {
    let source = Source::new(
        "a.rs",
        "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod more;\n",
    );
    let found = source.test_lines();
    assert_eq!((found.len(), found.first()), (1, Some(&(2..6))));
}
