//! Patterns of model names: linear time, bounded in size.

use regex::{Regex, RegexBuilder};

/// A pattern has at most this many bytes.
pub const PATTERN_BYTES_MAX: usize = 512;

/// A compiled pattern takes at most this many bytes; counted repetitions blow it up.
pub const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Its lazily built automaton takes at most this many.
const CACHE_BYTES_MAX: usize = 1 << 20;

/// Brackets inside each other, at most.
const NEST_MAX: u32 = 32;

/// A template has at most this many bytes.
pub const TEMPLATE_BYTES_MAX: usize = 512;

/// An expanded name has at most this many bytes.
pub const NAME_BYTES_MAX: usize = 1024;

/// Why a pattern or its template cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternFault {
    /// It is empty and would match every name.
    #[error("the pattern is empty; write `.*` to match every name")]
    Empty,
    /// It is longer than [`PATTERN_BYTES_MAX`].
    #[error("the pattern has {0} bytes, at most {PATTERN_BYTES_MAX} are allowed")]
    Long(usize),
    /// It needs more memory than [`PROGRAM_BYTES_MAX`].
    #[error("the pattern compiles to more than {PROGRAM_BYTES_MAX} bytes; use smaller repetitions")]
    Large,
    /// It is no regular expression, or one with look-around or back-references.
    #[error("the pattern is not a regular expression: {0}")]
    Syntax(String),
    /// The template names a group that the pattern does not have.
    #[error("the template uses ${{{group}}}, which the pattern does not have; it has {known}")]
    Group {
        /// The unknown group.
        group: String,
        /// The groups there are.
        known: String,
    },
    /// The template has a `$` that starts no group.
    #[error("the template has a lone `$`; write `$$` for the sign itself")]
    Dollar,
    /// The template is longer than [`TEMPLATE_BYTES_MAX`].
    #[error("the template has {0} bytes, at most {TEMPLATE_BYTES_MAX} are allowed")]
    LongTemplate(usize),
}

/// A compiled pattern, anchored as written.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Patterns that are empty, too long, too large or not regular.
    pub fn new(pattern: &str) -> Result<Self, PatternFault> {
        if pattern.is_empty() {
            return Err(PatternFault::Empty);
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(PatternFault::Long(pattern.len()));
        }
        RegexBuilder::new(pattern)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .nest_limit(NEST_MAX)
            .build()
            .map(|regex| Pattern { regex })
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternFault::Large,
                other => PatternFault::Syntax(last_line(&other.to_string())),
            })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether the name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// The template with the groups of the match filled in; the name itself for an empty template.
    /// `None` where the name does not match or the result is longer than [`NAME_BYTES_MAX`].
    pub fn expand(&self, name: &str, template: &str) -> Option<String> {
        if template.is_empty() {
            return self.matches(name).then(|| name.to_owned());
        }
        let captures = self.regex.captures(name)?;
        let mut expanded = String::with_capacity(name.len() + template.len());
        for piece in pieces(template) {
            match piece.ok()? {
                Piece::Text(text) => expanded.push_str(text),
                Piece::Group(group) => {
                    let found = match group.parse::<usize>() {
                        Ok(number) => captures.get(number),
                        Err(_) => captures.name(group),
                    };
                    expanded.push_str(found.map_or("", |found| found.as_str()));
                }
            }
            if expanded.len() > NAME_BYTES_MAX {
                return None;
            }
        }
        Some(expanded)
    }

    /// Whether the template can be filled from this pattern.
    ///
    /// # Errors
    /// A group that the pattern does not have, a lone `$`, or a template that is too long.
    pub fn check_template(&self, template: &str) -> Result<(), PatternFault> {
        if template.len() > TEMPLATE_BYTES_MAX {
            return Err(PatternFault::LongTemplate(template.len()));
        }
        for piece in pieces(template) {
            if let Piece::Group(group) = piece?
                && !self.has(group)
            {
                return Err(PatternFault::Group { group: group.to_owned(), known: self.known() });
            }
        }
        Ok(())
    }

    fn has(&self, group: &str) -> bool {
        match group.parse::<usize>() {
            Ok(number) => number < self.regex.captures_len(),
            Err(_) => self.regex.capture_names().flatten().any(|name| name == group),
        }
    }

    fn known(&self) -> String {
        let names = self.regex.capture_names().enumerate();
        let all: Vec<String> = names
            .map(|(number, name)| match name {
                Some(name) => format!("${{{name}}}"),
                None => format!("${number}"),
            })
            .collect();
        all.join(", ")
    }
}

enum Piece<'a> {
    Text(&'a str),
    Group(&'a str),
}

/// Text and groups of a template: `$1`, `$name`, `${name}`, `$$`.
fn pieces(template: &str) -> impl Iterator<Item = Result<Piece<'_>, PatternFault>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, behind) = piece(rest);
        rest = behind;
        Some(piece)
    })
}

fn piece(rest: &str) -> (Result<Piece<'_>, PatternFault>, &str) {
    let Some(behind) = rest.strip_prefix('$') else {
        let (text, behind) = rest.split_at(rest.find('$').unwrap_or(rest.len()));
        return (Ok(Piece::Text(text)), behind);
    };
    if let Some(behind) = behind.strip_prefix('$') {
        return (Ok(Piece::Text("$")), behind);
    }
    if let Some((group, behind)) = behind.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        return (Ok(Piece::Group(group)), behind);
    }
    // A number ends at the first other sign, so that `$1b` is group 1 and a `b`.
    let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    let word = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(behind.len());
    let end = if digits > 0 { digits } else { word };
    match end {
        0 => (Err(PatternFault::Dollar), behind),
        end => (Ok(Piece::Group(&behind[..end])), &behind[end..]),
    }
}

fn last_line(message: &str) -> String {
    let line = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(message);
    line.trim().trim_start_matches("error: ").to_owned()
}
