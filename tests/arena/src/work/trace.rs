//! Work from public traces, found by `LLMB_TRACES`.

mod azure;
mod mooncake;

use std::path::PathBuf;
use std::{env, error, fmt, fs, io};

pub use azure::Azure;
pub use mooncake::Mooncake;

/// The variable that names the folder of the traces.
const FOLDER: &str = "LLMB_TRACES";
/// Keys that the sessions of a trace are spread over.
const KEYS: usize = 8;

/// Why a trace cannot be used.
#[derive(Debug)]
pub enum TraceFault {
    /// Nobody said where they are.
    Unset,
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// A line of it, counted from one, makes no sense.
    Line(PathBuf, usize),
}

impl fmt::Display for TraceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceFault::Unset => write!(f, "{FOLDER} does not name the folder of the traces"),
            TraceFault::Read(path, _) => write!(f, "{} cannot be read", path.display()),
            TraceFault::Line(path, line) => write!(f, "{}:{line} is not of a trace", path.display()),
        }
    }
}

impl error::Error for TraceFault {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            TraceFault::Read(_, fault) => Some(fault),
            TraceFault::Unset | TraceFault::Line(..) => None,
        }
    }
}

/// The lines of a trace as `read` understands them, from the one of this number on.
fn lines<T>(file: &str, from: usize, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, TraceFault> {
    let path = PathBuf::from(env::var_os(FOLDER).ok_or(TraceFault::Unset)?).join(file);
    let text = fs::read_to_string(&path).map_err(|fault| TraceFault::Read(path.clone(), fault))?;
    let lines = text.lines().enumerate().skip(from).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| read(line).ok_or_else(|| TraceFault::Line(path.clone(), index + 1))).collect()
}
