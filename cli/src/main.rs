//! `llmctl`: starts the balancer, shows it, changes it.

mod admin;
mod apply;
mod args;
mod backend;
mod client;
mod config;
mod demo;
mod discover;
mod explain;
mod failure;
mod greet;
mod models;
mod name;
mod out;
mod plane;
#[cfg(test)]
mod readme;
mod render;
mod replay;
mod route;
mod status;
mod tail;
mod time;
mod typed;
mod up;
mod words;

use std::process::ExitCode;

use crate::{
    args::{Cli, Command},
    client::Client,
    failure::Failure,
};

fn main() -> ExitCode {
    let cli = typed::read();
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(run(cli));
            // A second Ctrl-C must not wait for threads that still serve.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Failure::Failed(format!("no threads to work with: {error}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{}", failure.report());
            ExitCode::from(failure.code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let (global, output) = (&cli.global, cli.global.output);
    match cli.command {
        Command::Up(up) => up::run(global, up).await,
        Command::Backend(command) => backend::run(&Client::connect(global).await?, output, command).await,
        Command::Route(command) => route::run(&Client::connect(global).await?, output, command).await,
        Command::Dataplane(command) => plane::run(&Client::connect(global).await?, output, command).await,
        Command::Models => models::run(&Client::connect(global).await?, output).await,
        Command::Status => status::run(&Client::connect(global).await?, output).await,
        Command::Export => apply::export(&Client::connect(global).await?, output).await,
        Command::Explain(explain) => explain::run(global, explain).await,
        Command::Tail(tail) => tail::run(global, tail).await,
        Command::Replay(replay) => replay::run(global, &replay),
        Command::Apply(apply) => apply::run(&Client::connect(global).await?, output, apply).await,
    }
}
