//! From what is typed to what is meant: refuses flags that a command takes but that do nothing for it.

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, error::ErrorKind, parser::ValueSource};

use crate::args::{Cli, Command, Route};

/// Reads the command line; ends the process with a sentence when it cannot be.
pub fn read() -> Cli {
    read_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads a command line.
///
/// # Errors
/// clap's, with usage.
pub fn read_from<T: Into<OsString> + Clone>(line: impl IntoIterator<Item = T>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(line)?;
    let cli = Cli::from_arg_matches(&matches)?;
    if let Command::Route(Route::Add(add)) = &cli.command
        && !add.weights.is_empty()
        && add.weights.len() != add.targets.len()
    {
        let (weights, targets) = (add.weights.len(), add.targets.len());
        let said = format!("{weights} --weight for {targets} --to: give each target one, or none at all");
        return Err(command.error(ErrorKind::WrongNumberOfValues, said));
    }
    if let Command::Up(up) = &cli.command
        && let Some(typed) = matches.subcommand_matches("up")
    {
        // Only what is typed: the environment may hold them for other commands.
        let typed = |id: &str| typed.value_source(id) == Some(ValueSource::CommandLine);
        let refuse = |said: &str| Err(command.clone().error(ErrorKind::ArgumentConflict, said));
        for flag in ["control", "output", "timeout"] {
            if typed(flag) {
                return refuse(&format!(
                    "--{flag} does nothing for `up`: it starts a control plane of its own"
                ));
            }
        }
        if up.demo && typed("state_dir") {
            return refuse("--demo keeps its state apart and forgets it: --state-dir cannot be used with it");
        }
    }
    Ok(cli)
}
