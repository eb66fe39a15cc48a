//! `llmctl status`: the control plane, its backends, the data planes.

use std::time::{SystemTime, UNIX_EPOCH};

use proto::v1;

use crate::{args::Output, client::Client, failure::Failure, out::show, render};

/// Shows it.
///
/// # Errors
/// As any call.
pub async fn run(client: &Client, output: Output) -> Result<(), Failure> {
    let status = client.answer(client.rpc().status(v1::StatusRequest {})).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    show(output, "StatusResponse", &status, || render::status::status(&status, now_ms));
    Ok(())
}
