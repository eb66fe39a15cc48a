//! `llmctl replay`: a tape through the very same core, by its own rule or by another one.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use serde_json::json;
use tape::{Reader, Rule};

use crate::{
    args::{Global, Output, Replay},
    failure::Failure,
    out::say,
    render,
};

/// A longer policy file is not read.
const POLICY_BYTES_MAX: u64 = 64 << 10;

/// Replays, and says what came of it.
///
/// # Errors
/// [`Failure::Input`] for a tape or a policy that cannot be read; [`Failure::Failed`] when the core decides otherwise
/// than it did.
pub fn run(global: &Global, replay: &Replay) -> Result<(), Failure> {
    let path = replay.tape.display();
    let file = File::open(&replay.tape).map_err(|error| Failure::Input(format!("{path}: {error}")))?;
    let unreadable = |error: tape::TapeError| Failure::Input(format!("{path}: {error}"));
    let mut tape = Reader::new(BufReader::new(file)).map_err(unreadable)?;
    if let Some(policy) = &replay.policy {
        let rule = rule(policy)?;
        let compared = tape::compare(&mut tape, &rule).map_err(unreadable)?;
        match global.output {
            Output::Table => say(&render::replay::compared(&compared, &name(policy))),
            Output::Json | Output::Yaml => say(&format!("{:#}\n", render::replay::as_json(&compared))),
        }
        return Ok(());
    }
    let replayed = tape::replay(&mut tape).map_err(unreadable)?;
    if let Some(difference) = &replayed.differs {
        return Err(Failure::Failed(render::replay::difference(difference, tape.software())));
    }
    let (events, decisions) = (replayed.events, replayed.decisions);
    match global.output {
        Output::Table => say(&render::replay::identical(&replayed)),
        Output::Json | Output::Yaml => {
            let told = json!({"events": events, "decisions": decisions, "identical": true});
            say(&format!("{told:#}\n"));
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    render::plain(&name.to_string_lossy())
}

fn rule(path: &Path) -> Result<Rule, Failure> {
    let said = |fault: String| Failure::Input(format!("{}: {fault}", path.display()));
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(POLICY_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| said(error.to_string()))?;
    if text.len() as u64 > POLICY_BYTES_MAX {
        return Err(said(format!("it has more than {POLICY_BYTES_MAX} bytes")));
    }
    let value = proto::value_of_yaml(&text).map_err(|error| said(error.to_string()))?;
    Rule::parse(value).map_err(|error| said(error.to_string()))
}
