//! `llmctl`: starts the balancer, shows it, changes it.

mod apply;
mod args;
mod backend;
mod client;
mod config;
mod failure;
mod models;
mod name;
mod out;
mod render;
mod route;
mod status;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    args::{Cli, Command},
    client::Client,
    failure::Failure,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(cli)),
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
        Command::Backend(command) => backend::run(&Client::connect(global).await?, output, command).await,
        Command::Route(command) => route::run(&Client::connect(global).await?, output, command).await,
        Command::Models => models::run(&Client::connect(global).await?, output).await,
        Command::Status => status::run(&Client::connect(global).await?, output).await,
        Command::Apply(apply) => apply::run(&Client::connect(global).await?, output, apply).await,
    }
}
