//! Standard output: text, or the proto's own form, whatever was asked for.

use std::io::{self, Write as _};

use prost::Message;

use crate::args::Output;

/// Writes to standard output. A reader that went away (`llmctl models | head`) is no fault.
pub fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes message `name` of `llmbalancer.v1` in the form asked for; `table` makes the one for people.
pub fn show<T: Message>(output: Output, name: &str, message: &T, table: impl FnOnce() -> String) {
    match output {
        Output::Table => say(&table()),
        Output::Json => say(&format!("{}\n", proto::to_json(name, message))),
        Output::Yaml => say(&format!("{}\n", proto::to_yaml(name, message).trim_end())),
    }
}
