//! `llmctl status`: the control plane, its backends, the data planes.

use proto::v1;

use crate::{args::Output, client::Client, failure::Failure, out::show, render, time::now_ms};

/// Shows it.
///
/// # Errors
/// As any call.
pub async fn run(client: &Client, output: Output) -> Result<(), Failure> {
    let status = client.answer(client.rpc().status(v1::StatusRequest {})).await?;
    let now_ms = now_ms();
    show(output, "StatusResponse", &status, || render::status::status(&status, now_ms));
    Ok(())
}
